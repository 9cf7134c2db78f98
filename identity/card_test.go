package identity_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
)

func card(t testing.TB, id *identity.Identity) []byte {
	t.Helper()
	data, err := id.Card()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, domain)
		us, them := issue(t, a, "us"), issue(t, a, "shop/them", identity.ValidFor(time.Hour))
		data := card(t, them)
		if err := us.AddCard(data); err != nil {
			t.Fatal(err)
		}
		got := us.Directory().Keys("shop/them")
		if len(got) != 1 || !got[0].Key.Equal(them.BoxKeys()[0].PublicKey()) || got[0].PeerID != them.ID() {
			t.Fatalf("got %+v", got)
		}
		if end := them.Peer().Certificate.NotAfter; !got[0].Until.Equal(end) {
			t.Errorf("until %v; the leaf until %v", got[0].Until, end)
		}
		time.Sleep(time.Hour + time.Second)
		if n := len(us.Directory().Keys("shop/them")); n != 0 {
			t.Errorf("%d keys after the leaf has ended", n)
		}
		wantError(t, us.AddCard(data), identity.ErrExpired)
		_, err := them.Card()
		wantError(t, err, identity.ErrExpired)
	})
}

// TestCardLifetime: a leaf of long life does not make a card of long life.
func TestCardLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, domain)
		us := issue(t, a, "us", identity.ValidFor(365*24*time.Hour))
		them := issue(t, a, "them", identity.ValidFor(365*24*time.Hour))
		if err := us.AddCard(card(t, them)); err != nil {
			t.Fatal(err)
		}
		if until := us.Directory().Keys("them")[0].Until; time.Until(until) > 90*24*time.Hour {
			t.Errorf("until %v", until)
		}
	})
}

func TestCardOfFederated(t *testing.T) {
	shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
	them := issue(t, partner, "them")
	wantError(t, issue(t, shop, "us").AddCard(card(t, them)), identity.ErrUntrusted)
	us := issue(t, shop, "us", identity.Trusting(partner))
	if err := us.AddCard(card(t, them)); err != nil {
		t.Error(err)
	}
	if n := len(us.Directory().Keys("them")); n != 0 {
		t.Error("a partner's service is taken for one of our own")
	}
}

// TestCardAndRegistry: a key that somebody else has entered too is theirs to
// remove, whatever becomes of the card.
func TestCardAndRegistry(t *testing.T) {
	for _, cardFirst := range []bool{true, false} {
		a := newAuthority(t, domain)
		us, them := issue(t, a, "us"), issue(t, a, "them")
		data, raw := card(t, them), them.BoxKeys()[0].PublicKey().Bytes()
		enter := func() error { return us.Directory().AddKeys(them.ID(), raw, time.Now().Add(time.Hour)) }
		steps := []func() error{func() error { return us.AddCard(data) }, enter}
		if !cardFirst {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Revoke(them); err != nil {
			t.Fatal(err)
		}
		if n := len(us.Directory().Keys("them")); n != 1 {
			t.Errorf("%d keys, card first %v", n, cardFirst)
		}
	}
}

// TestOpenCardOfThePast: what was sent before a certificate ended can be judged by
// the card of then, but not once the certificate is revoked; and nothing is entered.
func TestOpenCardOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, domain)
		us, them := issue(t, a, "us"), issue(t, a, "them", identity.ValidFor(time.Hour))
		data, sent := card(t, them), time.Now()
		time.Sleep(2 * time.Hour)
		opened, err := us.OpenCard(data, sent)
		if err != nil {
			t.Fatal(err)
		}
		if opened.Peer.ID != them.ID() || !opened.Peer.Serves("them") || len(opened.Keys) != 1 || !opened.Keys[0].X25519.Equal(them.BoxKeys()[0].PublicKey()) {
			t.Errorf("got %+v", opened)
		}
		if n := len(us.Directory().Keys("them")); n != 0 {
			t.Errorf("%d keys were entered", n)
		}
		for _, at := range []time.Time{time.Now(), sent.Add(2 * time.Hour)} {
			_, err = us.OpenCard(data, at)
			wantError(t, err, identity.ErrExpired)
		}
		_, err = us.OpenCard(data, sent.Add(-time.Hour))
		wantError(t, err, identity.ErrNotYetValid)
		if err := a.Revoke(them); err != nil {
			t.Fatal(err)
		}
		_, err = us.OpenCard(data, sent)
		wantError(t, err, identity.ErrRevoked)
		_, _, err = us.VerifyAsOf(opened.Chain, sent)
		wantError(t, err, identity.ErrRevoked)
	})
}

func TestHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
		us, them, theirs := issue(t, shop, "us", identity.Trusting(partner)), issue(t, shop, "them"), issue(t, partner, "them")
		d := us.Directory()
		if err := us.AddCard(card(t, theirs)); err != nil {
			t.Fatal(err)
		}
		if err := d.AddKeys(them.ID(), them.BoxKeys()[0].PublicKey().Bytes(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, id := range []*identity.Identity{them, theirs} {
			key := id.BoxKeys()[0].PublicKey().Bytes()
			peer, until, ok := d.Holder(id.ID(), key)
			if !ok || peer.ID != id.ID() || peer.Home() != (id == them) || (peer.Certificate != nil) != (id == theirs) || !time.Now().Before(until) {
				t.Errorf("%s: %+v until %v, %v", id, peer, until, ok)
			}
			if n := len(d.KeysOf(id.ID())); n != 1 {
				t.Errorf("%s: %d keys", id, n)
			}
			if _, _, ok := d.Holder(us.ID(), key); ok {
				t.Errorf("the key of %s is another's too", id)
			}
		}
		time.Sleep(time.Minute)
		if _, _, ok := d.Holder(them.ID(), them.BoxKeys()[0].PublicKey().Bytes()); ok {
			t.Error("the entry outlives its time")
		}
	})
}
