package quic

import (
	"bytes"
	"testing"

	"github.com/go-signet/signet/internal/caller"
	"go-micro.dev/v4/transport"
)

// BenchmarkMessage is the cost of one message without the network: a request as
// go-micro's client makes it.
func BenchmarkMessage(b *testing.B) {
	m := &transport.Message{
		Header: map[string]string{
			"Content-Type": "application/json", "Accept": "application/json", "Timeout": "5000000000",
			"Micro-Service": "greeter", "Micro-Method": "Greeter.Hello", "Micro-Endpoint": "Greeter.Hello",
			"Micro-ID": "4711", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		Body: bytes.Repeat([]byte("x"), 128),
	}
	b.Run("work=encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 2<<10)
		for b.Loop() {
			if _, _, err := appendMessage(buf, m, m.Body, false, defaultLimits, caller.Reserved); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("work=decode", func(b *testing.B) {
		b.ReportAllocs()
		wire := encode(b, m)
		r := bytes.NewReader(wire)
		d := &messageReader{r: r, lim: defaultLimits}
		for b.Loop() {
			r.Reset(wire)
			var got transport.Message
			if err := d.read(&got); err != nil {
				b.Fatal(err)
			}
		}
	})
}
