package signed_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// pair is a pair of public box keys; pq is nil if there is none.
type pair struct{ x25519, pq []byte }

func pairOf(id *identity.Identity) pair {
	own := id.SealKeys()[0].Public()
	return pair{own.X25519.Bytes(), own.PQ}
}

// wantPairs checks which keys of greeter a reader knows, in any order.
func wantPairs(t testing.TB, reader *identity.Identity, want ...pair) {
	t.Helper()
	got := reader.Directory().Keys("greeter")
	if len(got) != len(want) {
		t.Fatalf("%d pairs; want %d", len(got), len(want))
	}
	for _, p := range want {
		if !slices.ContainsFunc(got, func(k identity.PeerKey) bool {
			return bytes.Equal(k.Key.Bytes(), p.x25519) && bytes.Equal(k.PQ, p.pq)
		}) {
			t.Errorf("a pair with a post-quantum key of %d bytes is not there", len(p.pq))
		}
	}
}

// replicas loads one directory several times, whose box.key they share and which has no
// pq.key, so that each makes one.
func replicas(t testing.TB, f *fleet, n int) (ids []*identity.Identity) {
	t.Helper()
	dir := t.TempDir()
	if err := f.issue("greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pq.key")); err != nil {
		t.Fatal(err)
	}
	for range n {
		id, err := identity.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		ids = append(ids, id)
	}
	return ids
}

// TestRecordStatesPair: readers learn the post-quantum key where there is room for it.
func TestRecordStatesPair(t *testing.T) {
	for name, c := range map[string]struct {
		inner string
		opts  []registry.Option
		pq    bool
	}{
		"etcd":                {"etcd", []registry.Option{signed.PostQuantum()}, true},
		"memory":              {"memory", []registry.Option{signed.PostQuantum()}, true},
		"mdns":                {"mdns", []registry.Option{signed.PostQuantum()}, false},
		"without the option":  {"etcd", nil, false},
		"another option":      {"etcd", []registry.Option{signed.Validity(time.Minute)}, false},
		"without it, on mdns": {"mdns", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			inner, f := newLedger(), newFleet(t)
			inner.name = c.inner
			id, reader := f.issue("greeter"), f.issue("reader")
			r := wrap(t, inner, id, c.opts...)
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
			// The option says what is stated, not what is read.
			wantNodes(t, wrap(t, inner, reader), "greeter", "a@10.0.0.1:8000")
			want := pairOf(id)
			if !c.pq {
				want.pq = nil
			}
			wantPairs(t, reader, want)
			one := inner.one(t, "greeter")
			raw, err := signed.Carried(one.Nodes[0])
			if err != nil {
				t.Fatal(err)
			}
			if has := bytes.Contains(raw, pairOf(id).pq); has != c.pq {
				t.Errorf("a record of %d bytes; the key is in it: %v", len(raw), has)
			}
			if most := map[bool]int{true: 2200, false: 1000}[c.pq]; len(raw) > most {
				t.Errorf("a record of %d bytes: want at most %d, of a leaf alone", len(raw), most)
			}
			mustDeregister(t, r, greeter(node("a", "10.0.0.1:8000")))
			calls := inner.take()
			if last := calls[len(calls)-1].read(t); !last.Withdrawn || len(last.BoxKeys) > 0 {
				t.Errorf("withdrawn: %v, with %d box keys", last.Withdrawn, len(last.BoxKeys))
			}
		})
	}
}

// TestReplicasOfOneBoxKey: each has made a post-quantum key of its own, and readers
// know them all, however they come and go.
func TestReplicasOfOneBoxKey(t *testing.T) {
	inner, f := newBoard(), newFleet(t)
	reader := f.issue("reader")
	lookups := wrap(t, inner, reader)
	ids := replicas(t, f, 3)
	one, two, restarted := ids[0], ids[1], ids[2]
	mustRegister(t, wrap(t, inner, one, signed.PostQuantum()), greeter(node("a", "10.0.0.1:8000")))
	second := wrap(t, inner, two, signed.PostQuantum())
	mustRegister(t, second, greeter(node("b", "10.0.0.2:8000")))
	wantNodes(t, lookups, "greeter", "a@10.0.0.1:8000", "b@10.0.0.2:8000")
	wantPairs(t, reader, pairOf(one), pairOf(two))
	if n := len(slices.CompactFunc(reader.Directory().Keys("greeter"), func(a, b identity.PeerKey) bool { return a.Key.Equal(b.Key) })); n != 1 {
		t.Fatalf("%d X25519 keys: want that of the file", n)
	}
	// A replica starts again, with a key of its own, and its old self may still run.
	mustRegister(t, wrap(t, inner, restarted, signed.PostQuantum()), greeter(node("b", "10.0.0.2:8000")))
	wantNodes(t, lookups, "greeter", "a@10.0.0.1:8000", "b@10.0.0.2:8000")
	wantPairs(t, reader, pairOf(one), pairOf(two), pairOf(restarted))
}

// TestPairsEnd: a pair counts until its record has ended, and no longer; another of the
// same X25519 key is not concerned.
func TestPairsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.issue("reader")
		lookups := wrap(t, inner, reader)
		id := f.issue("greeter")
		state := func(n string, forgery signed.Forgery) {
			t.Helper()
			s := greeter(node(n, "10.0.0.1:8000"))
			if err := signed.Forge(id, s, forgery); err != nil {
				t.Fatal(err)
			}
			if err := inner.Register(s); err != nil {
				t.Fatal(err)
			}
			wantNodes(t, lookups, "greeter", n+"@10.0.0.1:8000")
			if err := inner.Deregister(s); err != nil {
				t.Fatal(err)
			}
		}
		whole := pairOf(id)
		state("a", signed.Forgery{Lifetime: time.Hour})
		state("b", signed.Forgery{Lifetime: 2 * time.Hour, WithoutPQ: true})
		wantPairs(t, reader, whole)
		sleep(time.Hour)
		wantPairs(t, reader, pair{x25519: whole.x25519}) // b's record says so, and no more
		sleep(time.Hour)
		wantPairs(t, reader)
	})
}

// TestRevokedPair: the pair of a revoked certificate goes, and another with the same
// X25519 key, of a certificate that is trusted, stays.
func TestRevokedPair(t *testing.T) {
	s := newStage(t)
	next := s.issue("greeter", identity.Renews(s.greeter))
	dir := t.TempDir()
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pq.key")); err != nil {
		t.Fatal(err)
	}
	twin, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twin.Close() })
	s.forge(twin, greeter(node("b", "10.0.0.2:8000")), signed.Forgery{})
	wantNodes(t, s.reader, "greeter", "a@"+address, "b@10.0.0.2:8000")
	wantPairs(t, s.readerID, pairOf(s.greeter), pairOf(twin))
	s.revoke(s.greeter)
	wantNodes(t, s.reader, "greeter", "b@10.0.0.2:8000")
	eventually(t, "the pair is taken out", func() bool { return len(s.readerID.Directory().Keys("greeter")) == 1 })
	wantPairs(t, s.readerID, pairOf(twin))
	s.revoke(twin)
	eventually(t, "the other is taken out", func() bool { return len(s.readerID.Directory().Keys("greeter")) == 0 })
}

// TestPQKeyRenewed: another pq.key alone is reason enough to sign anew.
func TestPQKeyRenewed(t *testing.T) {
	inner, f := newLedger(), newFleet(t)
	first := f.issue("greeter")
	dir, other := t.TempDir(), t.TempDir()
	if err := first.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.issue("greeter").Save(other); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	reader := f.issue("reader")
	lookups := wrap(t, inner, reader)
	mustRegister(t, wrap(t, inner, id, signed.PostQuantum()), greeter(node("a", "10.0.0.1:8000")))
	was := inner.wantOps(t, "register")[0].read(t)
	wantNodes(t, lookups, "greeter", "a@10.0.0.1:8000")
	if err := os.Rename(filepath.Join(other, "pq.key"), filepath.Join(dir, "pq.key")); err != nil {
		t.Fatal(err)
	}
	var now signed.Reading
	eventually(t, "a record of the new key", func() bool {
		if now, err = signed.Read(inner.one(t, "greeter").Nodes[0]); err != nil {
			t.Fatal(err)
		}
		return now.PQKeys[0] != was.PQKeys[0]
	})
	if now.BoxKeys[0] != was.BoxKeys[0] || now.Leaf != was.Leaf || now.PQKeys[0] != string(pairOf(id).pq) {
		t.Error("more has changed than the post-quantum key, or another key is stated")
	}
	wantNodes(t, lookups, "greeter", "a@10.0.0.1:8000")
	wantPairs(t, reader, pairOf(id), pairOf(first)) // what is sealed to the old one can be opened
}
