package identity_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
)

// pair is a pair of public keys; pq is nil if there is none.
type pair struct{ key, pq []byte }

func newPair(t testing.TB) pair { return pair{boxKey(t), pqKey(t)} }

func (p pair) silent() pair { return pair{key: p.key} }

func public(id *identity.Identity) pair {
	own := id.SealKeys()[0].Public()
	return pair{own.X25519.Bytes(), own.PQ}
}

func enter(t testing.TB, d *identity.Directory, peer string, p pair, until time.Time) {
	t.Helper()
	if err := d.AddSealKey(peer, p.key, p.pq, until); err != nil {
		t.Fatal(err)
	}
}

// wantPairs checks what KeysOf returns, in any order but that it is sorted.
func wantPairs(t testing.TB, d *identity.Directory, peer string, want ...pair) {
	t.Helper()
	got := d.KeysOf(peer)
	if len(got) != len(want) {
		t.Fatalf("%d pairs; want %d", len(got), len(want))
	}
	for _, p := range want {
		if !slices.ContainsFunc(got, func(k identity.PeerKey) bool {
			return bytes.Equal(k.Key.Bytes(), p.key) && bytes.Equal(k.PQ, p.pq) && (k.PQ == nil) == (p.pq == nil)
		}) {
			t.Errorf("a pair with a post-quantum key of %d bytes is not there", len(p.pq))
		}
	}
	if !slices.IsSortedFunc(got, func(a, b identity.PeerKey) int {
		return bytes.Compare(append(a.Key.Bytes(), a.PQ...), append(b.Key.Bytes(), b.PQ...))
	}) {
		t.Error("the keys are not sorted")
	}
}

// TestSealKeysOfReplicas: no replica is left out, whichever half it shares with another,
// and whichever way its keys became known.
func TestSealKeysOfReplicas(t *testing.T) {
	until := time.Now().Add(time.Hour)
	one, other := newPair(t), newPair(t)
	twin := pair{one.key, other.pq}
	for name, c := range map[string]struct{ enter, want []pair }{
		"one":                              {[]pair{one}, []pair{one}},
		"one twice":                        {[]pair{one, one}, []pair{one}},
		"two":                              {[]pair{one, other}, []pair{one, other}},
		"one X25519 key":                   {[]pair{one, twin}, []pair{one, twin}},
		"one post-quantum key":             {[]pair{twin, other}, []pair{twin, other}},
		"no post-quantum key":              {[]pair{one.silent()}, []pair{one.silent()}},
		"post-quantum key learned later":   {[]pair{one.silent(), one}, []pair{one}},
		"nothing said of it later":         {[]pair{one, one.silent()}, []pair{one}},
		"nothing said between":             {[]pair{one, one.silent(), twin}, []pair{one, twin}},
		"nothing said of another key's":    {[]pair{one, other.silent()}, []pair{one, other.silent()}},
		"three, two of them with one each": {[]pair{one, twin, other}, []pair{one, twin, other}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range []func([]pair){func([]pair) {}, slices.Reverse[[]pair]} {
				d := newDirectory(t)
				entered := slices.Clone(c.enter)
				order(entered)
				for _, p := range entered {
					enter(t, d, greeter, p, until)
				}
				wantPairs(t, d, greeter, c.want...)
				wantPairs(t, d, billing)
			}
		})
	}
}

// TestSealKeysEnd: each pair has its own time; what a longer silent entry says of the
// X25519 key stays when the pairs have ended.
func TestSealKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		one := newPair(t)
		twin := pair{one.key, pqKey(t)}
		now := time.Now()
		enter(t, d, greeter, one, now.Add(time.Hour))
		enter(t, d, greeter, twin, now.Add(2*time.Hour))
		enter(t, d, greeter, twin, now.Add(time.Hour)) // never sooner
		enter(t, d, greeter, one.silent(), now.Add(3*time.Hour))
		wantPairs(t, d, greeter, one, twin)
		for _, k := range d.KeysOf(greeter) {
			if want := map[bool]time.Duration{true: time.Hour, false: 2 * time.Hour}[bytes.Equal(k.PQ, one.pq)]; !k.Until.Equal(now.Add(want)) {
				t.Errorf("until %v; want in %v", k.Until, want)
			}
		}
		if _, until, _ := d.Holder(greeter, one.key); !until.Equal(now.Add(3 * time.Hour)) {
			t.Errorf("its holder until %v", until)
		}
		time.Sleep(time.Hour)
		wantPairs(t, d, greeter, twin)
		time.Sleep(time.Hour)
		wantPairs(t, d, greeter, one.silent())
		time.Sleep(time.Hour)
		wantPairs(t, d, greeter)
	})
}

func TestRemoveSealKey(t *testing.T) {
	until := time.Now().Add(time.Hour)
	one, other := newPair(t), newPair(t)
	twin := pair{one.key, other.pq}
	for name, c := range map[string]struct {
		remove func(d *identity.Directory)
		want   []pair
	}{
		"a pair":              {func(d *identity.Directory) { d.RemoveSealKey(greeter, one.key, one.pq) }, []pair{twin, other}},
		"a pair, silently":    {func(d *identity.Directory) { d.RemoveSealKey(greeter, one.key, nil) }, []pair{one, twin, other}},
		"a pair that is none": {func(d *identity.Directory) { d.RemoveSealKey(greeter, other.key, one.pq) }, []pair{one, twin, other}},
		"a pair of another":   {func(d *identity.Directory) { d.RemoveSealKey(billing, one.key, one.pq) }, []pair{one, twin, other}},
		"all pairs of a key":  {func(d *identity.Directory) { d.RemoveKey(greeter, one.key) }, []pair{other}},
		"both pairs of a key": {func(d *identity.Directory) {
			d.RemoveSealKey(greeter, one.key, one.pq)
			d.RemoveSealKey(greeter, one.key, twin.pq)
		}, []pair{one.silent(), other}},
		"everything of a peer":  {func(d *identity.Directory) { d.RemoveKeys(greeter) }, nil},
		"everything of another": {func(d *identity.Directory) { d.RemoveKeys(billing) }, []pair{one, twin, other}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirectory(t)
			for _, p := range []pair{one, twin, other, one.silent()} {
				enter(t, d, greeter, p, until)
			}
			c.remove(d)
			wantPairs(t, d, greeter, c.want...)
		})
	}
}

// TestSealKeysAreCopies: neither what was entered nor what was returned is shared.
func TestSealKeysAreCopies(t *testing.T) {
	d := newDirectory(t)
	one := newPair(t)
	given := pair{bytes.Clone(one.key), bytes.Clone(one.pq)}
	enter(t, d, greeter, given, time.Now().Add(time.Hour))
	clear(given.key)
	clear(given.pq)
	wantPairs(t, d, greeter, one)
	clear(d.KeysOf(greeter)[0].PQ)
	wantPairs(t, d, greeter, one)
}

func TestAddSealKeyRefuses(t *testing.T) {
	d := newDirectory(t)
	one := newPair(t)
	until := time.Now().Add(time.Hour)
	low := bytes.Clone(one.pq)
	clear(low[len(low)-32:])
	for name, c := range map[string]struct {
		peer    string
		key, pq []byte
		until   time.Time
		wraps   error
		says    string
	}{
		"malformed ID":            {"greeter", one.key, one.pq, until, identity.ErrInvalidName, ""},
		"over already":            {greeter, one.key, one.pq, time.Now(), identity.ErrExpired, ""},
		"low order":               {greeter, make([]byte, 32), one.pq, until, nil, "low order"},
		"no X25519 key":           {greeter, nil, one.pq, until, nil, "0 bytes"},
		"short":                   {greeter, one.key, one.pq[1:], until, nil, "1215 bytes"},
		"not reduced":             {greeter, one.key, bytes.Repeat([]byte{0xff}, len(one.pq)), until, nil, "not reduced"},
		"X25519 half low order":   {greeter, one.key, low, until, nil, "low order"},
		"the halves exchanged":    {greeter, one.pq, one.key, until, nil, "1216 bytes"},
		"an X25519 key as a pair": {greeter, one.key, one.key, until, nil, "32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, d.AddSealKey(c.peer, c.key, c.pq, c.until), c.wraps, c.says)
			wantPairs(t, d, greeter)
		})
	}
	enter(t, d, greeter, pair{one.key, []byte{}}, until) // empty is none
	wantPairs(t, d, greeter, one.silent())
	// What is known already is not looked at again, but its time is.
	enter(t, d, greeter, one, until)
	wantError(t, d.AddSealKey(greeter, one.key, one.pq, time.Now()), identity.ErrExpired)
}

// TestSealKeyLimits counts pairs, also those of one X25519 key, and gives their room
// back.
func TestSealKeyLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		key, pq := boxKey(t), pqKey(t)
		until := time.Now().Add(time.Hour)
		nth := func(i int) pair { // other ρ, which is whatever one likes
			raw := bytes.Clone(pq)
			raw[1152], raw[1153] = byte(i), byte(i>>8)
			return pair{key, raw}
		}
		for i := range identity.MaxKeysPerPeer {
			enter(t, d, greeter, nth(i), until)
		}
		full := func(i int) {
			t.Helper()
			wantError(t, d.AddSealKey(greeter, key, nth(i).pq, until), identity.ErrDirectoryFull, fmt.Sprint(identity.MaxKeysPerPeer))
		}
		full(1000)
		enter(t, d, greeter, nth(0), until.Add(time.Hour)) // it is there
		enter(t, d, billing, nth(0), until)
		d.RemoveSealKey(greeter, key, nth(1).pq)
		enter(t, d, greeter, nth(1000), until)
		full(1001)
		time.Sleep(time.Hour)
		enter(t, d, greeter, nth(1001), until.Add(time.Hour))
		wantPairs(t, d, greeter, nth(0), nth(1001))
	})
}

func TestSealKeysOnChange(t *testing.T) {
	d := newDirectory(t)
	changed := make(chan struct{}, 100)
	defer d.OnChange(func() { changed <- struct{}{} })()
	until := time.Now().Add(time.Hour)
	one := newPair(t)
	twin := pair{one.key, pqKey(t)}
	add := func(p pair, until time.Time) func() {
		return func() { enter(t, d, greeter, p, until) }
	}
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"X25519 key", add(one.silent(), until), true},
		{"its post-quantum key", add(one, until), true},
		{"it again", add(one, until), false},
		{"another post-quantum key", add(twin, until), true},
		{"prolong one", add(one, until.Add(1)), true},
		{"prolong the other", add(twin, until.Add(1)), true},
		{"remove a pair that is none", func() { d.RemoveSealKey(greeter, one.key, pqKey(t)) }, false},
		{"remove one", func() { d.RemoveSealKey(greeter, one.key, one.pq) }, true},
		{"remove it again", func() { d.RemoveSealKey(greeter, one.key, one.pq) }, false},
		{"remove the rest", func() { d.RemoveKey(greeter, one.key) }, true},
	} {
		step.do()
		select {
		case <-changed:
			if !step.want {
				t.Errorf("%s was announced", step.name)
			}
		case <-time.After(map[bool]time.Duration{true: 10 * time.Second, false: 20 * time.Millisecond}[step.want]):
			if step.want {
				t.Fatalf("%s was not announced", step.name)
			}
		}
	}
}

func BenchmarkAddSealKeyKnown(b *testing.B) {
	d := newDirectory(b)
	one := newPair(b)
	until := time.Now().Add(time.Hour)
	for b.Loop() {
		enter(b, d, greeter, one, until)
	}
}
