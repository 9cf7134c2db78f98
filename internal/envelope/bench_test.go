package envelope

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkSealOpen(b *testing.B) {
	for _, size := range []int{64, 1024, 65536} {
		for _, n := range []int{1, 10} {
			b.Run(fmt.Sprintf("size=%d/recipients=%d", size, n), func(b *testing.B) {
				to := newParties(b, n)
				p := params(newParty(b, "shop"), to...)
				m := message(strings.Repeat("x", size))
				e := newEpoch(b, p)
				r := newReader(b, seal(b, e, m, true), to[0])
				var out, plain []byte
				clear := outside(m)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if e.Left() == 0 {
						e.counter.Store(0) // a benchmark may
					}
					var err error
					if out, err = e.Seal(out[:0], m, [RandomSize]byte{}, false); err != nil {
						b.Fatal(err)
					}
					parsed, err := Parse(out)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := r.Open(plain[:0], parsed, m.Topic, clear, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
