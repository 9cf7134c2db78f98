package seal

import (
	"bytes"
	"testing"
)

// TestPeersSeal: everybody in every cell, and every recipient opens what was sealed.
func TestPeersSeal(t *testing.T) {
	for _, p := range peers() {
		for _, c := range p.cells() {
			t.Run(p.at(c), func(t *testing.T) {
				s, body := p.start(t, c.recipients), payload(c.size)
				messages, err := s.seal(body)
				if err != nil {
					t.Fatal(err)
				}
				for i := range c.recipients {
					if got, err := s.open(messages, i); err != nil || !bytes.Equal(got, body) {
						t.Fatalf("recipient %d got %d bytes, want those that were sealed; error: %v", i, len(got), err)
					}
				}
				last := messages[len(messages)-1]
				last[len(last)-1] ^= 1
				if _, err := s.open(messages, c.recipients-1); err == nil {
					t.Error("a message that was changed opens")
				}
			})
		}
	}
}

// BenchmarkSeal makes what n recipients can open.
func BenchmarkSeal(b *testing.B) {
	for _, p := range peers() {
		for _, c := range p.cells() {
			b.Run(p.at(c), func(b *testing.B) {
				s, body := p.start(b, c.recipients), payload(c.size)
				size := 0
				b.ReportAllocs()
				b.SetBytes(int64(c.size))
				for b.Loop() {
					messages, err := s.seal(body)
					if err != nil {
						b.Fatal(err)
					}
					size = length(messages)
				}
				b.ReportMetric(float64(size), "bytes/msg")
			})
		}
	}
}

// BenchmarkOpen opens it as one in the middle: who looks for his own among what is for
// others finds it halfway.
func BenchmarkOpen(b *testing.B) {
	for _, p := range peers() {
		for _, c := range p.cells() {
			b.Run(p.at(c), func(b *testing.B) {
				s, who := p.start(b, c.recipients), c.recipients/2
				messages, err := s.seal(payload(c.size))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.SetBytes(int64(c.size))
				for b.Loop() {
					if got, err := s.open(messages, who); err != nil || len(got) != c.size {
						b.Fatalf("got %d bytes, want %d; error: %v", len(got), c.size, err)
					}
				}
			})
		}
	}
}

func length(messages [][]byte) (n int) {
	for _, m := range messages {
		n += len(m)
	}
	return n
}
