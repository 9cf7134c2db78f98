package identity_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

func smallCard(t testing.TB, id *identity.Identity) []byte {
	t.Helper()
	data, err := id.CardWithoutPQ()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCardStatesPair: a card states the pair, the small one its X25519 key.
func TestCardStatesPair(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "us"), issue(t, a, "them")
	own := public(them)
	d := us.Directory()
	for _, c := range []struct {
		name string
		data []byte
		want pair
	}{{"small", smallCard(t, them), own.silent()}, {"whole", card(t, them), own}} {
		opened, err := us.OpenCard(c.data, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if k := opened.Keys; len(k) != 1 || !bytes.Equal(k[0].X25519.Bytes(), c.want.key) || !bytes.Equal(k[0].PQ, c.want.pq) || (k[0].PQ == nil) != (c.want.pq == nil) {
			t.Errorf("%s: %+v", c.name, k)
		}
		wantPairs(t, d, them.ID()) // nothing was entered
		if err := us.AddCard(c.data); err != nil {
			t.Fatal(err)
		}
		wantPairs(t, d, them.ID(), c.want)
		d.RemoveKeys(them.ID())
	}
	// Whichever comes first, and whatever becomes of its bytes.
	for _, cards := range [][][]byte{{smallCard(t, them), card(t, them)}, {card(t, them), smallCard(t, them)}} {
		for _, data := range cards {
			if err := us.AddCard(data); err != nil {
				t.Fatal(err)
			}
			clear(data)
		}
		wantPairs(t, d, them.ID(), own)
		d.RemoveKeys(them.ID())
	}
	if whole, small := len(card(t, them)), len(smallCard(t, them)); whole-small < identity.PQKeySize-4 || small > 1000 {
		t.Errorf("a card of %d bytes, a small one of %d", whole, small) // signatures differ by a byte or two
	}
}

// TestCardsOfReplicas: two replicas that share box.key only are both known.
func TestCardsOfReplicas(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "us"), issue(t, a, "them")
	dir := save(t, them)
	remove(t, dir, "pq.key")
	one, _ := load(t, dir)
	two, _ := load(t, dir)
	for _, id := range []*identity.Identity{one, two} {
		if err := us.AddCard(card(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	wantPairs(t, us.Directory(), them.ID(), public(one), public(two))
	if err := a.Revoke(them); err != nil {
		t.Fatal(err)
	}
	wantPairs(t, us.Directory(), them.ID())
}

// TestCardAndRegistryPairs: a pair that somebody else has entered too outlives the
// card, and one that he has not goes with it.
func TestCardAndRegistryPairs(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "us"), issue(t, a, "them")
	d, own := us.Directory(), public(them)
	twin := pair{own.key, pqKey(t)}
	if err := us.AddCard(card(t, them)); err != nil {
		t.Fatal(err)
	}
	enter(t, d, them.ID(), own.silent(), time.Now().Add(time.Hour))
	enter(t, d, them.ID(), twin, time.Now().Add(time.Hour))
	wantPairs(t, d, them.ID(), own, twin)
	if peer, _, ok := d.Holder(them.ID(), own.key); !ok || peer.Certificate == nil {
		t.Error("the holder has no certificate, and a card has brought one")
	}
	if err := a.Revoke(them); err != nil {
		t.Fatal(err)
	}
	wantPairs(t, d, them.ID(), twin)
	if peer, _, ok := d.Holder(them.ID(), own.key); !ok || peer.Certificate != nil {
		t.Error("the holder has a certificate that is revoked")
	}
}
