package signed

import (
	"slices"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

func TestKnownNodesAreLimited(t *testing.T) {
	b := newBench(t, nil)
	o := b.offer(t, "a", oldAddress, Forgery{})
	if c := b.now(o); c.err != nil {
		t.Fatal(c.err)
	}
	b.known.Store(maxKnown)
	if c := b.now(b.offer(t, "b", newAddress, Forgery{})); reasonOf(c.err) != Limit {
		t.Errorf("one more: got %v, want limit", c.err)
	}
	if c := b.now(b.offer(t, "a", newAddress, Forgery{})); c.err != nil {
		t.Errorf("a known node's next record: %v", c.err)
	}
	if got := b.known.Load(); got != maxKnown {
		t.Errorf("%d nodes are known, want %d", got, maxKnown)
	}
}

func TestSweepForgetsWhatHasEnded(t *testing.T) {
	b := newBench(t, nil)
	if c := b.now(b.offer(t, "a", oldAddress, Forgery{})); c.err != nil {
		t.Fatal(c.err)
	}
	b.swept = time.Time{}
	b.sweep(time.Now().Add(2 * DefaultValidity))
	if len(b.entries("")) != 0 || b.known.Load() != 0 || len(b.book.entered) != 0 || len(b.book.keys) != 0 {
		t.Errorf("%d entries, %d nodes, %d addresses, %d keys are left", len(b.entries("")), b.known.Load(), len(b.book.entered), len(b.book.keys))
	}
	b.bound(t, oldAddress, false)
}

func TestNegativesAreBounded(t *testing.T) {
	var n negatives
	now := time.Now()
	for i := range uint64(3 * maxNegatives) {
		n.add(i, Unsigned, false, 1, now)
	}
	if got := len(n.seen); got > maxNegatives || got < maxNegatives/2 {
		t.Errorf("%d are remembered", got)
	}
}

func TestNegativesCountForAMoment(t *testing.T) {
	var n negatives
	now := time.Now()
	if n.add(1, Unsigned, false, 1, now) {
		t.Error("the first was reported before")
	}
	for name, tt := range map[string]struct {
		key, generation uint64
		at              time.Time
		want            bool
	}{
		"the same":           {1, 1, now.Add(time.Second), true},
		"another offer":      {2, 1, now, false},
		"another generation": {1, 2, now, false},
		"a minute later":     {1, 1, now.Add(recheckWait), false},
	} {
		if _, got := n.find(tt.key, tt.generation, tt.at); got != tt.want {
			t.Errorf("%s: found %v, want %v", name, got, tt.want)
		}
	}
	if !n.add(1, Unsigned, false, 2, now.Add(time.Second)) || n.add(1, Expired, false, 2, now.Add(time.Second)) || n.add(1, Expired, false, 2, now.Add(2*recheckWait)) {
		t.Error("what is reported again is wrong")
	}
}

func TestChainsAreBounded(t *testing.T) {
	var c chainCache
	for i := range byte(100) {
		c.add([32]byte{i}, &chainVerdict{trust: trust{generation: 1}}, maxChains/10)
	}
	if len(c.chains) > 10 || c.size > maxChains {
		t.Errorf("%d chains of %d bytes", len(c.chains), c.size)
	}
	c.add([32]byte{1}, &chainVerdict{trust: trust{generation: 2}}, 1)
	c.add([32]byte{2}, &chainVerdict{trust: trust{generation: 1}}, 1)
	find := func(key byte, generation uint64) bool {
		v, _ := c.find([32]byte{key}, generation)
		return v != nil
	}
	if find(2, 1) || find(1, 1) || !find(1, 2) {
		t.Error("a verdict of another generation is kept")
	}
}

// Chains that take long to be found bad are looked at a limited number of times, and
// hold up neither leaves alone nor what is known.
func TestBadChainsAreLimited(t *testing.T) {
	b := newBench(t, nil)
	leaf := func(id *identity.Identity) []byte {
		cert, err := id.TLSCertificate()
		if err != nil {
			t.Fatal(err)
		}
		return cert.Certificate[0]
	}
	stranger, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	bad, err := stranger.Issue("greeter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bad.Close() })
	known := [][]byte{leaf(b.signer), stranger.Certificate().Raw}
	if _, _, err := b.chains.verify(b.id, known); err != nil {
		t.Fatal(err)
	}
	limited := 0
	for i := range 2 * maxFailures {
		chain := [][]byte{leaf(bad)}
		for rest := i; len(chain) < 8; rest /= 3 { // each another
			chain = append(chain, [][]byte{stranger.Certificate().Raw, leaf(b.signer), leaf(bad)}[rest%3])
		}
		if _, _, err := b.chains.verify(b.id, chain); reasonOf(err) == Limit {
			limited++
		} else if reasonOf(err) != Untrusted {
			t.Fatalf("got %v", err)
		}
	}
	if limited == 0 || limited > maxFailures {
		t.Errorf("%d of %d were not looked at", limited, 2*maxFailures)
	}
	if _, _, err := b.chains.verify(b.id, known); err != nil {
		t.Errorf("a chain that is known: %v", err)
	}
	if _, _, err := b.chains.verify(b.id, known[:1]); err != nil {
		t.Errorf("a leaf alone: %v", err)
	}
}

func TestSignersOfANodeAreBounded(t *testing.T) {
	n := &nodeState{floors: make(map[string]floor)}
	now := time.Now()
	for i := range 3 * maxSigners {
		e := &entry{record: &record{issued: now.Unix(), lifetime: int64(100 + i)}}
		n.raise(e, string(rune('a'+i)))
	}
	if len(n.floors) != maxSigners {
		t.Errorf("%d floors", len(n.floors))
	}
	if _, ok := n.floors[string(rune('a'+3*maxSigners-1))]; !ok {
		t.Error("the newest is not among them")
	}
}

func TestCutKeepsNothingOfTheRest(t *testing.T) {
	long := string(slices.Repeat([]byte("x"), 1<<20))
	if got := cut(long); len(got) != 300 {
		t.Errorf("%d bytes", len(got))
	}
	if got := cut("é"); got != "é" {
		t.Errorf("got %q", got)
	}
}
