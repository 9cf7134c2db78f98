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
