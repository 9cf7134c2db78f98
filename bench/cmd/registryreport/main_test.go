package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-signet/signet/bench/internal/results/resultstest"
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

func TestReport(t *testing.T) {
	resultstest.Contains(t, fixture(), write,
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
	)
}

func TestRefused(t *testing.T) {
	resultstest.Refused(t, fixture(), "Watch/plugin=signed/state=cold", write)
}
