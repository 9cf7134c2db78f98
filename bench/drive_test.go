package bench

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-signet/signet/bench/internal/measure"
)

// sizes are the payloads measured, in bytes.
var sizes = [...]int{128, 4 << 10, 64 << 10}

// inflights are the numbers of exchanges kept outstanding at once.
var inflights = [...]int{1, 64}

// An op performs one exchange. seq differs from call to call, so that an answer to
// another exchange is noticed.
type op func(seq uint64) error

// warmUp is how many exchanges are made before the clock starts: by then connections
// are established, streams open, buffers pooled and congestion windows grown.
const warmUp = 256

// drive runs b with one goroutine for each of ops, so that len(ops) exchanges are
// in flight. The time per operation is wall time divided by exchanges, which for
// more than one in flight is the inverse of throughput, not a latency.
func drive(b *testing.B, size int, ops []op) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	if err := together(ops, warmUp); err != nil {
		b.Fatalf("warm up: %v", err)
	}
	// The clock also counts the time that others on the machine take away; this
	// counts what both ends and the kernel spend on them.
	before := measure.CPUTime(b)
	defer func() {
		b.ReportMetric(float64(measure.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
	}()
	if len(ops) == 1 {
		var seq uint64
		for b.Loop() {
			seq++
			if err := ops[0](seq); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.ResetTimer()
	if err := together(ops, b.N); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
}

// together performs n exchanges, shared between one goroutine for each of ops, and
// returns the errors that ended any of them early.
func together(ops []op, n int) error {
	var next atomic.Int64
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	for i, do := range ops {
		wg.Go(func() {
			for seq := next.Add(1); seq <= int64(n); seq = next.Add(1) {
				if errs[i] = do(uint64(seq)); errs[i] != nil {
					next.Store(int64(n)) // the others stop after the exchange they are in
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// payload returns size printable bytes: JSON carries them without escapes.
func payload(size int) []byte {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	return []byte(strings.Repeat(alphabet, size/len(alphabet)+1)[:size])
}

// checkEcho compares what is cheap to compare: length and both ends.
func checkEcho[T string | []byte](got, want T) error {
	if len(got) != len(want) {
		return fmt.Errorf("echo has %d bytes, want %d", len(got), len(want))
	}
	if last := len(want) - 1; got[0] != want[0] || got[last] != want[last] {
		return fmt.Errorf("echo begins %#x and ends %#x, want %#x and %#x", got[0], got[last], want[0], want[last])
	}
	return nil
}
