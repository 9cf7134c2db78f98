package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		if err := describe(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// describe prints what the results depend on, as configuration lines of the Go
// benchmark format, so that raw results carry their own context. The testing
// package adds goos, goarch and cpu.
func describe() error {
	fmt.Printf("go: %s\n", runtime.Version())
	fmt.Printf("cores: %d\n", runtime.GOMAXPROCS(0))
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil { // Linux only
		fmt.Printf("kernel: %s\n", strings.TrimSpace(string(release)))
	}
	// A test binary does not know its modules, and whether a workspace is in force
	// decides their versions: ask the go command that built it.
	list := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}",
		"go-micro.dev/v4", "github.com/quic-go/quic-go", "google.golang.org/grpc",
		"github.com/go-micro/plugins/v4/transport/grpc")
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
