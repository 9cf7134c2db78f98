package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-signet/signet/bench/internal/results/resultstest"
)

// fixture is a run with figures that are easy to add, in nanoseconds.
func fixture() string {
	var out strings.Builder
	out.WriteString("goos: linux\ncpu: Example CPU @ 3.00GHz\n")
	line := func(name string, ns float64, size int) {
		for range 3 {
			fmt.Fprintf(&out, "Benchmark%s-2 100 %g ns/op %d bytes/msg 10 B/op 1 allocs/op\n", name, ns, size)
		}
	}
	for i, p := range append(plugins(),
		plugin{name: "signet", more: "/suite=aes-256-gcm/auth=tags/epoch=known"},
		plugin{name: "signet", more: "/suite=pq-aes-256-gcm/auth=tags/epoch=inline"},
		plugin{name: "signet", more: "/suite=pq-aes-256-gcm/auth=tags/epoch=known"},
		plugin{name: "signet", more: "/suite=pq-chacha20-poly1305/auth=tags/epoch=inline"},
	) {
		for _, c := range cells() {
			if p.measured(c) {
				line(name("Seal", p, c), float64(1000*(i+1)*c.recipients), 100*c.size)
				line(name("Open", p, c), 500, 0)
			}
		}
	}
	for _, suite := range []string{"aes-256-gcm", "chacha20-poly1305", "pq-aes-256-gcm", "pq-chacha20-poly1305"} {
		for _, n := range recipients {
			at := fmt.Sprintf("/plugin=signet/recipients=%d/suite=%s", n, suite)
			line("EpochMake"+at, float64(200000*n), 0)
			line("EpochUnwrap"+at, 300000, 0)
		}
	}
	return out.String()
}

func TestReport(t *testing.T) {
	dir := resultstest.Contains(t, fixture(), write,
		"# Sealing: benchmark report\n\nRead this first.\n",
		"| cpu | Example CPU @ 3.00GHz |",
		"| runs | 3 |",
		"| 1 KiB, 1 recipient | ≤ 2 µs | 1.50 µs | kept |",
		"| 1 KiB, 10 recipients | ≤ 8 µs | 10.5 µs | **missed** |",
		"|  | **signet** | signet, ChaCha20 | signet, signatures | nacl box | nacl box, precomputed | xkeys | age | AES-GCM alone |",
		"| 64 B, 10 recipients | 10.5 µs | 20.5 µs | 30.5 µs | 40.5 µs | 50.5 µs | 60.5 µs | 70.5 µs | – |",
		"| 1 MiB, 100 recipients | 1.00 | 2.00 | 2.99 | – | – | – | 6.97 | – |",
		"| 1 KiB, 1 recipient | 102400 | 102400 |",
		"| 1 KiB, 1 recipient | 1, 1 | 1, 1 |",
		"| AES-256-GCM, epoch known | 9.00 µs, 0.50 µs, 102400 B | 90.0 µs, 0.50 µs, 102400 B |",
		"| pq-aes-256-gcm | 200 µs, 300 µs | 200 µs, 300 µs |",
	)
	resultstest.Chart(t, dir, "sealopen.svg", "signet")
}

func TestRefused(t *testing.T) { resultstest.Refused(t, fixture(), "Open/plugin=age/", write) }
