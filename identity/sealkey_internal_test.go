package identity

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// renewPQ gives an identity another post-quantum key.
func renewPQ(t *testing.T, id *Identity) SealKey {
	t.Helper()
	pq, err := keys.NewPQKey()
	if err != nil {
		t.Fatal(err)
	}
	id.replace(func(was *state) *state {
		next, set := *was, *was.set
		set.PQ = pq
		next.set, next.retired = &set, was.retire(SealKey{set.Box, pq}, id.grace)
		return &next
	})
	return SealKey{id.BoxKeys()[0], pq}
}

// TestGraceOfSealKeys: each replaced pair counts for the grace period from its own
// replacement, and however fast they change their number is bounded.
func TestGraceOfSealKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := NewAuthority("shop.internal")
		if err != nil {
			t.Fatal(err)
		}
		id, err := a.Issue("a", ValidFor(30*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		defer id.Close()
		want := func(pairs ...SealKey) {
			t.Helper()
			got := id.SealKeys()
			if len(got) != len(pairs) {
				t.Fatalf("%d pairs; want %d", len(got), len(pairs))
			}
			for i := range got {
				if !got[i].equal(pairs[i]) {
					t.Errorf("pair %d is another", i)
				}
			}
		}
		first := id.SealKeys()[0]
		second := renewPQ(t, id)
		time.Sleep(DefaultBoxKeyGrace / 2)
		third := renewPQ(t, id)
		want(third, second, first)
		time.Sleep(DefaultBoxKeyGrace/2 - time.Nanosecond)
		want(third, second, first)
		time.Sleep(time.Nanosecond)
		want(third, second)
		time.Sleep(DefaultBoxKeyGrace / 2)
		want(third)
		for range 2 * maxRetired {
			renewPQ(t, id)
		}
		if got := id.SealKeys(); len(got) != 1+maxRetired {
			t.Errorf("%d pairs are kept", len(got))
		}
	})
}
