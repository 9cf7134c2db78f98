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
	line := func(p plugin, c cell, ns float64) {
		for range 3 {
			fmt.Fprintf(&out, "Benchmark%s-2 100 %g ns/op %d bytes/msg %g cpu-ns/op %d B/op 7 allocs/op\n", p.at(c), ns, 2*c.size, 2*ns, 3*c.size)
		}
	}
	ns := map[string]float64{"sealed-nats": 3000, "sealed-pq-nats": 3500, "nats": 2500, "sealed-go-micro-nats": 9000, "go-micro-nats": 8000, "xkeys": 100000, "raw-nats": 2000}
	for _, p := range append(suites, overNATS[2:]...) { // the first two are among suites
		for _, c := range cells(inflights...) {
			line(p, c, ns[p.name]*float64(max(p.recipients, 1))/float64(c.inflight)*512)
		}
	}
	for i, p := range inMemory {
		for _, c := range cells(1) {
			line(p, c, float64(1000*(i+1)))
		}
	}
	return out.String()
}

func TestReport(t *testing.T) {
	dir := resultstest.Contains(t, fixture(), write,
		"# Events: benchmark report\n\nRead this first.\n",
		"| cpu | Example CPU @ 3.00GHz |",
		"| 512 in flight, recipients: 1 | ≤ 1.5 × nats.go | 1.50 × | kept |",
		"| 512 in flight, recipients: 10 | ≤ 1.5 × nats.go | 15.00 × | **missed** |",
		"| 1 in flight, recipients: 1 | faster than go-micro's plugin in clear | 0.37 × | kept |",
		"|  | **sealed, broker/nats** | **same, 10 recipients** | broker/nats in clear | sealed, go-micro's plugin | go-micro's plugin | xkeys, nats.go | nats.go |",
		"| 1 KiB, 512 in flight | 3.00 µs | 30.0 µs | 2.50 µs | 9.00 µs | 8.00 µs | 100 µs | 2.00 µs |",
		"| 64 B, 512 in flight | 1.50 | 15.00 | 1.25 | 4.50 | 4.00 | 50.00 | 1.00 |",
		"| 16 KiB, 512 in flight | 6.00 µs | 60.0 µs |",
		"| 1 KiB, 512 in flight | 2048 | 2048 |",
		"| 1 KiB, 512 in flight | 3072 B, 7 |",
		"| 1 KiB, 512 in flight | 3.00 µs, 2048 B | 3.50 µs, 2048 B | 30.0 µs, 2048 B | 35.0 µs, 2048 B |",
		"| 1 KiB, 1 in flight | 1.00 µs, 3072 B, 7 | 2.00 µs, 3072 B, 7 | 3.00 µs, 3072 B, 7 |",
	)
	resultstest.Chart(t, dir, "events.svg", "sealed-nats")
}

func TestRefused(t *testing.T) { resultstest.Refused(t, fixture(), "Events/plugin=xkeys/", write) }
