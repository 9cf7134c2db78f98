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
	ns := map[string]float64{clear: 100000, encrypted: 104000, noCard: 102000}
	for _, c := range cells() {
		for mode, ns := range ns {
			if c.carrier == "quic" && mode == encrypted {
				ns *= 1.5
			}
			for range 3 {
				fmt.Fprintf(&out, "Benchmark%s-2 100 %g ns/op %g cpu-ns/op\n", c.in(mode), ns, 2*ns)
			}
		}
	}
	for i, variant := range []string{"card", "no-card", "post-quantum"} {
		for _, keys := range []int{1, 3, 10} {
			fmt.Fprintf(&out, "BenchmarkSize/keys=%d/variant=%s-2 100 1000 ns/op %d request-bytes %d later-bytes 120 stream-bytes 50 answer-bytes\n", keys, variant, 1000*(i+1)+keys, 64+16*keys)
		}
	}
	return out.String()
}

func TestReport(t *testing.T) {
	resultstest.Contains(t, fixture(), write,
		"# Encrypted calls: benchmark report\n\nRead this first.\n",
		"| cpu | Example CPU @ 3.00GHz |",
		"| http, json, 16 B, 1 in flight | 100 µs | 104 µs | 1.04 | 1.02 | 200 µs | 208 µs | 1.04 | kept |",
		"| quic, proto, 4 KiB, 64 in flight | 100 µs | 156 µs | 1.56 | 1.02 | 200 µs | 312 µs | 1.56 | **missed** |",
		"An answer grows by 50.",
		"| 3 | 1003 | 2003 | 3003 | 112 | 120 |",
	)
}

func TestRefused(t *testing.T) {
	resultstest.Refused(t, fixture(), "RPC/carrier=quic/codec=json/size=16/inflight=1/mode=clear", write)
}
