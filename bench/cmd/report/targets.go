package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-signet/signet/bench/internal/results"
)

// ours is the plugin that the targets are about.
const ours = "quic"

// A target is a promise about ours in some cells. Exactly one of against and
// within is set.
type target struct {
	promise  string
	workload string
	sizes    []int // none: every size
	inflight int   // 0: any number in flight
	against  string
	ratio    float64 // ours may take this many times as long as against
	within   time.Duration
}

// targets are the performance targets of the design.
func targets() []target {
	small, large, tiny := []int{128, 4 << 10}, []int{64 << 10}, []int{16}
	return []target{
		{promise: "≤ 1.2 × raw-quic", workload: "TransportEcho", sizes: small, against: "raw-quic", ratio: 1.2},
		{promise: "faster than http", workload: "TransportEcho", sizes: small, against: "http", ratio: 1},
		{promise: "faster than grpc-mtls", workload: "TransportEcho", sizes: small, against: "grpc-mtls", ratio: 1},
		{promise: "faster than http-mtls", workload: "TransportEcho", sizes: large, against: "http-mtls", ratio: 1},
		{promise: "faster than http (stretch)", workload: "TransportEcho", sizes: large, against: "http", ratio: 1},
		{promise: "faster than grpc-mtls (stretch)", workload: "TransportEcho", sizes: large, against: "grpc-mtls", ratio: 1},
		{promise: "≤ 1/3 of http-mtls", workload: "RPC", sizes: tiny, inflight: 1, against: "http-mtls", ratio: 1.0 / 3},
		{promise: "≤ 1/4 of http-mtls", workload: "RPC", sizes: tiny, inflight: 64, against: "http-mtls", ratio: 1.0 / 4},
		{promise: "≤ 300 µs", workload: "Dial", within: 300 * time.Microsecond},
	}
}

func (t target) covers(c cell) bool {
	return c.workload == t.workload &&
		(t.inflight == 0 || t.inflight == c.inflight) &&
		(len(t.sizes) == 0 || slices.Contains(t.sizes, c.size))
}

// judge returns what was measured in at and whether the promise was kept, or false
// if it was not measured.
func (t target) judge(res *table, at cell) (measured string, kept, ok bool) {
	if t.against == "" {
		m, ok := res.median(at, ours, unitTime)
		return results.Micro(m.Center), m.Center <= t.within.Seconds(), ok
	}
	r, ok := res.ratio(at, ours, t.against)
	return fmt.Sprintf("%.2f ×", r), r <= t.ratio, ok
}
