//go:build !race

package envelope

import (
	"fmt"
	"strings"
	"testing"
)

// TestAllocations: the hot path allocates the message, and what it was parsed into.
// (With the race detector sync.Pool forgets at random.)
func TestAllocations(t *testing.T) {
	for _, n := range []int{1, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			to := newParties(t, n)
			e := newEpoch(t, params(newParty(t, "shop"), to...))
			m := message(strings.Repeat("x", 1024))
			raw := seal(t, e, m, true)
			r, clear := newReader(t, raw, to[0]), outside(m)
			if got := testing.AllocsPerRun(100, func() {
				if _, err := e.Seal(nil, m, [RandomSize]byte{}, true); err != nil {
					t.Fatal(err)
				}
			}); got > 2 {
				t.Errorf("Seal allocates %v times", got)
			}
			if got := testing.AllocsPerRun(100, func() {
				parsed, err := Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Open(nil, parsed, m.Topic, clear, nil); err != nil {
					t.Fatal(err)
				}
			}); got > 2 {
				t.Errorf("Parse and Open allocate %v times", got)
			}
		})
	}
}
