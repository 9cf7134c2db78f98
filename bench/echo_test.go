package bench

import (
	"fmt"
	"testing"
)

// BenchmarkTransportEcho sends a body over a transport socket and waits for its
// echo. Each exchange in flight has a socket of its own.
func BenchmarkTransportEcho(b *testing.B) {
	for _, p := range peers() {
		for _, size := range sizes {
			for _, inflight := range inflights {
				b.Run(fmt.Sprintf("plugin=%s/size=%d/inflight=%d", p.name, size, inflight), func(b *testing.B) {
					drive(b, size, echoOps(b, p, size, inflight))
				})
			}
		}
	}
}

// echoOps starts the peer and dials it n times.
func echoOps(tb testing.TB, p peer, size, n int) []op {
	tb.Helper()
	dial := p.serve(tb)
	ops := make([]op, n)
	for i := range ops {
		c, err := dial()
		if err != nil {
			tb.Fatalf("%s: dial: %v", p.name, err)
		}
		tb.Cleanup(func() {
			if err := c.Close(); err != nil {
				tb.Errorf("%s: close: %v", p.name, err)
			}
		})
		ops[i] = echoOp(c, size)
	}
	return ops
}

// echoOp exchanges a body of its own that both ends of seq are written into.
func echoOp(c conn, size int) op {
	body := payload(size)
	return func(seq uint64) error {
		body[0], body[size-1] = byte(seq), byte(seq>>8)
		echo, err := c.exchange(body)
		if err != nil {
			return err
		}
		return checkEcho(echo, body)
	}
}
