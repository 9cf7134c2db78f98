package seal

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/envelope"
)

// BenchmarkEpochMake makes an epoch, as a publisher does once an hour, every 2^20
// messages, and when a recipient changes.
func BenchmarkEpochMake(b *testing.B) {
	for _, s := range suites {
		for _, n := range recipients {
			b.Run(fmt.Sprintf("plugin=signet/recipients=%d/suite=%s", n, s.name), func(b *testing.B) {
				p, _ := newParams(b, s.suite, n)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := envelope.NewEpoch(p, rand.Reader); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/recipient")
			})
		}
	}
}

// BenchmarkEpochUnwrap opens the epoch of a message that brings it, as each recipient
// does once. Who the sender is was found out before.
func BenchmarkEpochUnwrap(b *testing.B) {
	for _, s := range suites {
		for _, n := range recipients {
			b.Run(fmt.Sprintf("plugin=signet/recipients=%d/suite=%s", n, s.name), func(b *testing.B) {
				p, own := newParams(b, s.suite, n)
				e, err := envelope.NewEpoch(p, rand.Reader)
				if err != nil {
					b.Fatal(err)
				}
				message, err := e.Seal(nil, &envelope.Message{Topic: topic, Time: time.Now()}, [envelope.RandomSize]byte{}, true)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := unwrap(message, own[n-1]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
