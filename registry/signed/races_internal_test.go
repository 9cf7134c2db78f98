package signed

import (
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// bench is an engine without a registry, and what it would be offered.
type bench struct {
	*engine
	authority *identity.Authority
	signer    *identity.Identity
}

func newBench(t *testing.T, authorize func(identity.Peer, *registry.Service) error) *bench {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(service string) *identity.Identity {
		id, err := a.Issue(service)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		return id
	}
	v := &verifier{id: issue("reader"), authorize: authorize}
	return &bench{newEngine(v, func(string) bool { return false }, func([]Rejection) {}), a, issue("greeter")}
}

// offer makes one that is signed in order.
func (b *bench) offer(t *testing.T, id, address string, f Forgery) *offer {
	t.Helper()
	s := &registry.Service{Name: "greeter", Nodes: []*registry.Node{{Id: id, Address: address}}}
	if err := Forge(b.signer, s, f); err != nil {
		t.Fatal(err)
	}
	return &offer{service: s.Name, node: s.Nodes[0], part: &parts{state: b.state(s.Name, false)}}
}

func (b *bench) now(o *offer) checked { return b.check(o, time.Now(), b.id.Generation()) }

func (b *bench) bound(t *testing.T, address string, want bool) {
	t.Helper()
	if _, got := b.id.Directory().Bound(address); got != want {
		t.Errorf("%s is bound: %v, want %v", address, got, want)
	}
}

// verified makes an entry that is known to nobody yet.
func (b *bench) verified(t *testing.T, o *offer) (*entry, *signedOffer) {
	t.Helper()
	s, err := b.parse(o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return newEntry(s, s.statement()), s
}

const (
	oldAddress = "10.0.0.1:8000"
	newAddress = "10.0.0.2:8000"
)

// A change of trust comes between the look at the chain and the entry, and whoever
// rechecks has looked before there is one.
func TestRevokedWhileItIsChecked(t *testing.T) {
	var b *bench
	b = newBench(t, func(identity.Peer, *registry.Service) error {
		err := b.authority.Revoke(b.signer)
		b.recheck()
		return err
	})
	c := b.now(b.offer(t, "a", oldAddress, Forgery{}))
	if reasonOf(c.err) != Revoked {
		t.Errorf("got %v, want revoked", c.err)
	}
	b.bound(t, oldAddress, false)
	if len(b.entries("")) != 0 || len(b.id.Directory().Keys("greeter")) != 0 {
		t.Error("an entry, or a key, is left")
	}
}

// The same, when the entry is known and its signer is looked at again.
func TestRevokedWhileItIsLookedAtAgain(t *testing.T) {
	revoke := false
	var b *bench
	b = newBench(t, func(identity.Peer, *registry.Service) error {
		if !revoke {
			return nil
		}
		err := b.authority.Revoke(b.signer)
		b.recheck()
		return err
	})
	o := b.offer(t, "a", oldAddress, Forgery{})
	if c := b.now(o); c.err != nil {
		t.Fatal(c.err)
	}
	revoke = true
	if c := b.now(o); c.err == nil {
		t.Error("it passes")
	}
	b.bound(t, oldAddress, false)
	if len(b.entries("")) != 0 {
		t.Error("an entry is left")
	}
}

// A newer record is entered between the two steps of an older one.
func TestOvertakenWhileItIsEntered(t *testing.T) {
	b := newBench(t, nil)
	older, _ := b.verified(t, b.offer(t, "a", oldAddress, Forgery{Issued: time.Now().Add(-time.Second)}))
	newer, s := b.verified(t, b.offer(t, "a", newAddress, Forgery{}))
	state := b.state("greeter", true)
	if _, err := state.enter(older, time.Now(), &b.known); err != nil {
		t.Fatal(err)
	}
	if err := b.enter(newer, s, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := b.list(state, older, b.id.Generation()); err != nil {
		t.Fatal(err)
	}
	b.bound(t, oldAddress, false)
	b.bound(t, newAddress, true)
}

func TestOvertakenWhileItIsChecked(t *testing.T) {
	b := newBench(t, nil)
	older, olderOffer := b.verified(t, b.offer(t, "a", oldAddress, Forgery{Issued: time.Now().Add(-time.Second)}))
	if c := b.now(b.offer(t, "a", newAddress, Forgery{})); c.err != nil {
		t.Fatal(c.err)
	}
	if err := b.enter(older, olderOffer, time.Now()); reasonOf(err) != Replayed {
		t.Errorf("got %v, want replayed", err)
	}
	b.bound(t, oldAddress, false)
}

// Trust changes between the two steps of a removal, so that the recheck finds the
// entry neither among what is known nor its key among those that linger.
func TestRevokedWhileItIsRemoved(t *testing.T) {
	b := newBench(t, nil)
	if c := b.now(b.offer(t, "a", oldAddress, Forgery{})); c.err != nil {
		t.Fatal(c.err)
	}
	n := b.entries("greeter")[0]
	b.state("greeter", false).drop(n)
	if err := b.authority.Revoke(b.signer); err != nil {
		t.Fatal(err)
	}
	b.recheck()
	b.unlist(n)
	b.bound(t, oldAddress, false)
	if got := b.id.Directory().Keys("greeter"); len(got) != 0 {
		t.Errorf("%d keys of a revoked signer are left", len(got))
	}
}

// A record ends while others of the same answer are being checked.
func TestEndedWhileOthersAreChecked(t *testing.T) {
	b := newBench(t, nil)
	o := b.offer(t, "a", oldAddress, Forgery{})
	c := b.now(o)
	if c.err != nil {
		t.Fatal(c.err)
	}
	for _, tt := range []struct {
		at   time.Time
		want int
	}{{time.Now(), 1}, {c.entry.until(), 0}} {
		if got := current(b.state("greeter", false), []verdict{{offer: o, entry: c.entry}}, tt.at); len(got) != tt.want {
			t.Errorf("at %v: %d nodes, want %d", tt.at, len(got), tt.want)
		}
	}
}

// Two lookups look at one entry again; another lookup has dropped it meanwhile.
func TestRenewedByTwo(t *testing.T) {
	b := newBench(t, nil)
	if c := b.now(b.offer(t, "a", oldAddress, Forgery{})); c.err != nil {
		t.Fatal(c.err)
	}
	n := b.entries("greeter")[0]
	for i := range 2 {
		next, err := b.renew(n, n.trust, n.trust.generation)
		if err != nil || (next != nil) != (i == 0) {
			t.Errorf("renewal %d: got %v, %v", i+1, next, err)
		}
	}
	b.bound(t, oldAddress, true)
	b.remove(b.entries("greeter")[0])
	b.bound(t, oldAddress, false)
	if next, err := b.renew(n, n.trust, n.trust.generation); next != nil || err != nil {
		t.Errorf("after its removal: got %v, %v", next, err)
	}
	b.bound(t, oldAddress, false)
	if len(b.book.entered) != 0 || len(b.book.addresses) != 0 {
		t.Errorf("the book still has %d entries at %d addresses", len(b.book.entered), len(b.book.addresses))
	}
}

// A signer is trusted for longer than before, as with each new revocation list.
func TestTrustIsProlonged(t *testing.T) {
	b := newBench(t, nil)
	if c := b.now(b.offer(t, "a", oldAddress, Forgery{})); c.err != nil {
		t.Fatal(c.err)
	}
	n := b.entries("greeter")[0]
	short := n.trust
	short.until = time.Now().Add(time.Minute)
	if next, err := b.renew(n, short, short.generation); err != nil || !next.until().Equal(short.until) {
		t.Fatalf("got %v, %v", next, err)
	}
	b.recheck()
	if got := b.entries("greeter")[0]; !got.until().After(short.until) || got.trust.generation != short.generation {
		t.Errorf("it ends at %v under generation %d", got.until(), got.trust.generation)
	}
	b.bound(t, oldAddress, true)
}

// A withdrawal that is offered again and again costs one signature check: the second
// time it passes with a signature that would not.
func TestWithdrawalIsVerifiedOnce(t *testing.T) {
	b := newBench(t, nil)
	o := b.offer(t, "a", oldAddress, Forgery{Withdrawn: true})
	if c := b.now(o); c.err != nil {
		t.Fatal(c.err)
	}
	raw, err := Carried(o.node)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	r.signature[len(r.signature)-1] ^= 1
	if err := Carry(o.node, r.encode()); err != nil {
		t.Fatal(err)
	}
	if c := b.now(o); c.err != nil || !c.entry.record.withdrawn {
		t.Errorf("got %v", c.err)
	}
	if len(b.entries("")) != 0 {
		t.Error("a withdrawn node is known")
	}
}
