// Package measure is what the benchmarks have in common.
package measure

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// Main runs the tests and benchmarks of a package. Before benchmarks it prints what
// their results depend on, and the versions of modules.
func Main(m *testing.M, modules ...string) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		if err := describe(modules); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// describe prints configuration lines of the Go benchmark format, so that raw results
// carry their own context. The testing package adds goos, goarch and cpu.
func describe(modules []string) error {
	fmt.Printf("go: %s\n", runtime.Version())
	fmt.Printf("cores: %d\n", runtime.GOMAXPROCS(0))
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil { // Linux only
		fmt.Printf("kernel: %s\n", strings.TrimSpace(string(release)))
	}
	if len(modules) == 0 {
		return nil
	}
	// A test binary does not know its modules, and whether a workspace is in force
	// decides their versions: ask the go command that built it.
	list := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, modules...)...)
	list.Stderr = os.Stderr
	versions, err := list.Output()
	if err != nil {
		return fmt.Errorf("the versions of the peers are unknown: %w", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(versions)), "\n") {
		path, version, _ := strings.Cut(line, " ")
		fmt.Printf("%s: %s\n", path, version)
	}
	return nil
}
