package codec

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go-micro.dev/v4/registry"
)

// How calls are made.
const (
	clear     = "clear"
	encrypts  = "encrypted"
	omitsCard = "no-card" // encrypted, and the service knows the caller
)

// BenchmarkRPC calls a go-micro handler in clear and encrypted, one right after the
// other, over each carrier. All calls in flight share one client.
func BenchmarkRPC(b *testing.B) {
	e := newEnds(b)
	reg := registry.NewMemoryRegistry() // one for all: it never stops its goroutine
	for _, carrier := range []string{"http", "quic"} {
		for _, enc := range encodings {
			for _, size := range []int{16, 4 << 10} {
				for _, inflight := range []int{1, 64} {
					for _, mode := range []string{clear, encrypts, omitsCard} {
						name := fmt.Sprintf("carrier=%s/codec=%s/size=%d/inflight=%d/mode=%s", carrier, enc.name, size, inflight, mode)
						b.Run(name, func(b *testing.B) { run(b, e, carrier, enc, mode, reg, size, inflight) })
					}
				}
			}
		}
	}
}

func run(b *testing.B, e *ends, carrier string, enc encoding, mode string, reg registry.Registry, size, inflight int) {
	cli, at := e.start(b, carrier, mode, reg, inflight)
	contentType := enc.clear
	if mode != clear {
		contentType = enc.sealed
	}
	payload := strings.Repeat("x", size)
	together := func(n int) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range inflight {
			wg.Go(func() {
				for seq := next.Add(1); seq <= int64(n); seq = next.Add(1) {
					if err := enc.call(b.Context(), cli, contentType, payload, uint64(seq), at); err != nil {
						b.Error(err)
						next.Store(int64(n))
						return
					}
				}
			})
		}
		wg.Wait()
	}
	together(256) // connections are there by then, and the epoch
	b.ReportAllocs()
	b.SetBytes(int64(size))
	before := cpuTime(b)
	b.ResetTimer()
	together(b.N)
	b.StopTimer()
	// The clock also counts the time that others on the machine take away; this counts
	// what both ends and the kernel spend on a call.
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
