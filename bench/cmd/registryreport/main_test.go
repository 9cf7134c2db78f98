package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-signet/signet/bench/internal/results"
)

// fixture is a run with figures that are easy to divide, in nanoseconds.
func fixture() string {
	var out strings.Builder
	out.WriteString("goos: linux\ncpu: Example CPU @ 3.00GHz\n")
	line := func(name string, ns float64) {
		for range 3 {
			fmt.Fprintf(&out, "Benchmark%s-2 100 %g ns/op 10 B/op 7 allocs/op\n", name, ns)
		}
	}
	for _, n := range []float64{1, 100, 1000} {
		for state, ns := range map[string]float64{"warm": 900, "junk": 1900, "cold-shared": 30000, "cold-each": 130000, "first-junk": 80000} {
			line(lookupName("signed", state, fmt.Sprint(n)), ns*n)
		}
		line(lookupName("inner", "unsigned", fmt.Sprint(n)), 200*n)
		line(lookupName("inner", "carrying", fmt.Sprint(n)), 300*n)
	}
	for _, name := range []string{"Watch/plugin=inner/state=unsigned", "Watch/plugin=signed/state=warm", "Watch/plugin=signed/state=cold", "Register/plugin=signed/state=same", "Register/plugin=signed/state=another"} {
		line(name, 4000)
	}
	for i, backend := range []string{"metadata", "etcd", "mdns"} {
		for j, plugin := range []string{"inner", "signed"} {
			fmt.Fprintf(&out, "BenchmarkNodeSize/plugin=%s/backend=%s-2 100 1 ns/op %d bytes/node\n", plugin, backend, 100*(i+1)+j)
		}
	}
	return out.String()
}

func generate(t *testing.T, text string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "results.txt"), filepath.Join(dir, "REPORT.md")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	err := results.Report(out, []string{in}, write)
	report, readErr := os.ReadFile(out)
	if err == nil && readErr != nil {
		t.Fatal(readErr)
	}
	return string(report), err
}

func TestReport(t *testing.T) {
	report, err := generate(t, fixture())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| cpu | Example CPU @ 3.00GHz |",
		"| runs | 1 |",
		"| raw results | results.txt |",
		"| warm, over the inner | 100 | ≤ 1 µs a node | 0.70 µs | kept |",
		"| cold, one certificate for all | 1000 | ≤ 120 µs a node | 30.0 µs | kept |",
		"| cold, a certificate each | 1 | ≤ 120 µs a node | 130 µs | **missed** |",
		"| junk, after the first time | 100 | a cached refusal | 1.00 µs, 50 × less than the first time |  |",
		"| bare registry, signed nodes | 0.30 µs, 7 | 0.30 µs, 7 | 0.30 µs, 7 |",
		"| event, signed, record new | 4.00 µs |",
		"| JSON of the record (etcd, NATS) | 200 | 201 |",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if again, _ := generate(t, fixture()); again != report {
		t.Error("the same input made another report")
	}
}

func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"empty":           {"", "is not among the results"},
		"a failed run":    {fixture() + "FAIL\n", "the run failed"},
		"one is missing":  {strings.ReplaceAll(fixture(), "BenchmarkWatch/plugin=signed/state=cold", "BenchmarkOther"), "Watch/plugin=signed/state=cold"},
		"the line is cut": {fixture() + "BenchmarkWatch/x 100 1\n", "results.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := generate(t, tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
