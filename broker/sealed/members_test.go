package sealed_test

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

// federation is two trust domains that trust each other. Each has a shop and a billing.
type federation struct {
	*scene
	partner *identity.Authority
	theirs  *identity.Identity // spiffe://partner.org/shop
}

func newFederation(t *testing.T, rules ...broker.Option) *federation {
	t.Helper()
	home, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	partner, err := identity.NewAuthority("partner.org")
	if err != nil {
		t.Fatal(err)
	}
	f := &federation{scene: &scene{
		fleet: &fleet{t: t, authority: home, members: make(map[string]*identity.Identity)},
		wire:  newWire(), refused: new(rejections),
	}, partner: partner}
	for _, who := range []string{"shop", "billing", "shipping"} {
		f.issue(who, identity.Trusting(partner))
	}
	f.introduce()
	if f.theirs, err = partner.Issue("shop", identity.Trusting(home)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.theirs.Close() })
	card, err := f.members["billing"].Card()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.theirs.AddCard(card); err != nil {
		t.Fatal(err)
	}
	f.shop = f.join("shop", f.wire, rules...)
	f.billing = f.join("billing", f.wire, append(rules, f.refused.option())...)
	f.in = subscribe(t, f.billing, "orders.created")
	return f
}

// published returns what the partner's shop publishes.
func (f *federation) published(t *testing.T, rules ...broker.Option) packet {
	t.Helper()
	w := newWire()
	b := sealed.NewBroker(append(rules, sealed.Wrap(w), sealed.Identity(f.theirs), broker.Logger(quiet))...)
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Disconnect() })
	publish(t, b, "orders.created", "from the partner")
	return w.last(t)
}

// TestFederation: a name in a rule is one of our own trust domain. The partner's shop is
// another one, and may publish where its SPIFFE ID says so.
func TestFederation(t *testing.T) {
	const theirs, billing = "spiffe://partner.org/shop", "spiffe://shop.internal/billing"
	they := sealed.Topic("orders.*", sealed.Publishers(theirs), sealed.Subscribers(billing))
	for name, c := range map[string]struct {
		publishers sealed.TopicRule
		allowed    bool
	}{
		"by its name":      {sealed.Publishers("shop"), false},
		"any of our own":   {sealed.AnyPublisher(), false},
		"by its SPIFFE ID": {sealed.Publishers("shop", theirs), true},
	} {
		t.Run(name, func(t *testing.T) {
			ours := sealed.Topic("orders.*", c.publishers, sealed.Subscribers("billing"), sealed.ClearHeaders("Trace"))
			f := newFederation(t, ours)
			f.good(t)
			p := f.published(t, they)
			if c.allowed {
				f.delivers(t, p, "from the partner")
				peer, _ := sealed.Sender(f.in.last(t))
				if peer.ID != theirs || peer.Home() || peer.Serves("shop") {
					t.Errorf("it is taken for %v, home %v", peer, peer.Home())
				}
				if err := f.partner.Revoke(f.theirs); err != nil {
					t.Fatal(err)
				}
				f.refuses(t, f.alive(t, p), false, badPublisher)
			} else {
				f.refuses(t, p, false, badPublisher)
			}
			f.good(t)
		})
	}
	t.Run("an authority vouches for its own domain", func(t *testing.T) {
		f := newFederation(t, sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing"), sealed.ClearHeaders("Trace")))
		h := headingOf(t, f.theirs, 0)
		h.sender = "spiffe://shop.internal/shop"
		epoch := newSecrets(t, h, f.theirs.BoxKeys()[0], memberOf(f.members["billing"]))
		f.refuses(t, epoch.seal(t, note{topic: "orders.created"}).on("orders.created", nil), false, badPublisher)
		f.good(t)
	})
}

// alive is another message of a packet's epoch, by who knows its key and is its only
// recipient.
func (f *federation) alive(t *testing.T, p packet) packet {
	t.Helper()
	return learn(t, p.message.Body, f.members["billing"]).seal(t, note{topic: p.topic, body: "more", counter: 50}).on(p.topic, nil)
}

// TestRevoked: who was revoked is heard no more, and nothing is sealed to it any more,
// from the moment on that Revoke returns.
func TestRevoked(t *testing.T) {
	t.Run("the sender", func(t *testing.T) {
		for _, known := range []bool{true, false} {
			s := newScene(t)
			if known {
				s.good(t)
			}
			p := s.sent(t, "orders.created", "x")
			was := s.members["shop"]
			if err := s.authority.Revoke(was); err != nil {
				t.Fatal(err)
			}
			s.refuses(t, p, false, badPublisher)
			s.refuses(t, p, false, badPublisher)
			// The service goes on with another certificate.
			s.issue("shop")
			s.introduceOne(t, "shop")
			s.shop = s.join("shop", s.wire, sceneRules())
			s.good(t)
		}
	})
	t.Run("a sender without a card", func(t *testing.T) {
		s := newScene(t, sealed.OmitCard())
		s.good(t)
		p := s.sent(t, "orders.created", "x")
		if err := s.authority.Revoke(s.members["shop"]); err != nil {
			t.Fatal(err)
		}
		s.refuses(t, p, false, badPublisher)
		s.refuses(t, p, false, badPublisher)
	})
	t.Run("a recipient", func(t *testing.T) {
		var missing [][]string
		var mu sync.Mutex
		s := newScene(t, sealed.OnMissing(func(_ string, who []string) {
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, who)
		}))
		s.good(t)
		p := s.sent(t, "orders.created", "both")
		learn(t, p.message.Body, s.members["shipping"])
		if err := s.authority.Revoke(s.members["shipping"]); err != nil {
			t.Fatal(err)
		}
		p = s.sent(t, "orders.created", "one")
		h := readHeading(dissect(t, p.message.Body).header)
		if len(h.keyIDs) != 1 || !bytes.Equal(h.keyIDs[0], keyIDOf(memberOf(s.members["billing"]).key)) {
			t.Error("it is still sealed to who was revoked")
		}
		s.delivers(t, p, "one")
		if len(missing) != 1 || !slices.Equal(missing[0], []string{"spiffe://shop.internal/shipping"}) {
			t.Errorf("missing: %q", missing)
		}
		if err := s.authority.Revoke(s.members["billing"]); err != nil {
			t.Fatal(err)
		}
		before := len(s.wire.sent())
		wantError(t, s.shop.Publish("orders.created", &broker.Message{}), sealed.ErrNoRecipients)
		if len(s.wire.sent()) != before {
			t.Error("something was sent")
		}
	})
}

// introduceOne hands one member's card to those that take it.
func (f *fleet) introduceOne(t *testing.T, who string) {
	t.Helper()
	card, err := f.members[who].Card()
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range f.members {
		if name != who {
			if err := to.AddCard(card); err != nil {
				t.Fatal(err)
			}
			theirs, err := to.Card()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.members[who].AddCard(theirs); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestEnded: an identity that has ended publishes nothing, and epochs end with it.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.issue("shop", identity.ValidFor(30*time.Minute))
		s.introduceOne(t, "shop")
		s.shop = s.join("shop", s.wire, sceneRules())
		s.good(t)
		h := readHeading(dissect(t, s.wire.last(t).message.Body).header)
		if end := s.members["shop"].Peer().Certificate.NotAfter; h.notAfter.After(end) {
			t.Errorf("the epoch ends at %v, the certificate at %v", h.notAfter, end)
		}
		p := s.sent(t, "orders.created", "x")
		time.Sleep(31 * time.Minute)
		before := len(s.wire.sent())
		wantError(t, s.shop.Publish("orders.created", &broker.Message{}), identity.ErrExpired)
		if len(s.wire.sent()) != before {
			t.Error("something was sent")
		}
		s.delivers(t, p, "x") // from before
		// A recipient whose card has ended, and whom nobody has introduced again.
		time.Sleep(24 * time.Hour)
		s.issue("shop")
		if err := s.join("shop", s.wire, sceneRules()).Publish("orders.created", &broker.Message{}); !errors.Is(err, sealed.ErrNoRecipients) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestCardEnds: who is known by a card that has ended is known no more, from that second
// on.
func TestCardEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		shop := s.issue("shop", identity.ValidFor(time.Hour))
		s.introduceOne(t, "shop")
		h := headingOf(t, shop, 1)
		h.credential, h.notAfter = nil, time.Now().Add(5*time.Hour)
		epoch := newSecrets(t, h, shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
		n := note{topic: "orders.created", body: "x"}
		send := func() packet {
			n.counter++
			return epoch.seal(t, n).on(n.topic, nil)
		}
		s.delivers(t, send(), "x")
		time.Sleep(time.Until(shop.Peer().Certificate.NotAfter) - 30*time.Second)
		s.delivers(t, send(), "x")
		time.Sleep(29 * time.Second)
		s.delivers(t, send(), "x")
		time.Sleep(2 * time.Second)
		s.refuses(t, send(), false, badPublisher)
		s.refuses(t, send(), false, badPublisher)
	})
}

// TestRecipientEnds: nothing is sealed to a key whose time is up, in an epoch that goes on
// neither.
func TestRecipientEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.issue("shipping", identity.ValidFor(2*time.Hour))
		s.issue("shop")
		s.introduceOne(t, "shipping")
		s.introduceOne(t, "shop")
		s.shop = s.join("shop", s.wire, sceneRules(), sealed.RotateEvery(24*time.Hour))
		sealedTo := func() int {
			return len(readHeading(dissect(t, s.sent(t, "orders.created", "x").message.Body).header).keyIDs)
		}
		if got := sealedTo(); got != 2 {
			t.Fatalf("sealed to %d keys", got)
		}
		time.Sleep(2*time.Hour - time.Second)
		if got := sealedTo(); got != 2 {
			t.Errorf("sealed to %d keys, before the end of one", got)
		}
		time.Sleep(2 * time.Second)
		if got := sealedTo(); got != 1 {
			t.Errorf("sealed to %d keys, after the end of one", got)
		}
	})
}

// TestOurOwnKey: a publisher that reads its own topic, and that a registry has told of
// itself, is one recipient.
func TestOurOwnKey(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	card, err := f.members["shop"].Card()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.members["shop"].AddCard(card); err != nil {
		t.Fatal(err)
	}
	w := newWire()
	shop := f.join("shop", w, sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("shop", "billing")))
	in := subscribe(t, shop, "orders.created")
	publish(t, shop, "orders.created", "x")
	if got := in.bodies(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("got %q", got)
	}
	if h := readHeading(dissect(t, w.last(t).message.Body).header); len(h.keyIDs) != 2 {
		t.Errorf("sealed to %d keys", len(h.keyIDs))
	}
}

// TestNarrowerRuleExcludes: who may read a pattern may not read a topic that has a rule of
// its own without it.
func TestNarrowerRuleExcludes(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	b := f.join("billing", newWire(), orders(), sealed.Topic("orders.secret", sealed.Publishers("shop"), sealed.Subscribers("shipping")))
	_, err := b.Subscribe("orders.secret", newInbox().handle)
	wantError(t, err, sealed.ErrNotSubscriber)
	subscribe(t, b, "orders.created")
	subscribe(t, b, "orders.*")
}

// TestClosed: nothing is made for an identity that is closed.
func TestClosed(t *testing.T) {
	s := newScene(t)
	s.good(t) // an epoch is open
	s.members["shop"].Close()
	before := len(s.wire.sent())
	wantError(t, s.shop.Publish("orders.created", &broker.Message{}), identity.ErrClosed)
	if len(s.wire.sent()) != before {
		t.Error("something was sent")
	}
}

// TestSignaturesRenewed: what is signed verifies while the signer's key changes.
func TestSignaturesRenewed(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	dir := filepath.Join(t.TempDir(), "shop")
	if err := f.members["shop"].Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	f.members["shop"] = id
	f.introduce()
	w, told := newWire(), new(rejections)
	shop, billing := f.join("shop", w, orders(sealed.Signatures())), f.join("billing", w, orders(sealed.Signatures()), told.option())
	in := subscribe(t, billing, "orders.created")
	publish(t, shop, "orders.created", "the first epoch")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if err := shop.Publish("orders.created", &broker.Message{Body: []byte("x")}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 3 {
		made := sealed.StatsOf(shop).EpochsMade
		renew(t, f, "shop", dir)
		publishUntil(t, shop, "another epoch", func() bool { return sealed.StatsOf(shop).EpochsMade > made })
	}
	close(done)
	wg.Wait()
	if all := told.take(); len(all) > 0 {
		t.Errorf("%d refused: %+v", len(all), all[0])
	}
	if sent, got := len(w.sent()), len(in.bodies()); sent != got {
		t.Errorf("%d of %d have arrived", got, sent)
	}
	if n := sealed.StatsOf(billing).EpochsOpened; n < 4 {
		t.Errorf("%d epochs", n)
	}
}

// TestSignatureOfAnother: a fellow recipient cannot sign, and a signature is of one
// message.
func TestSignatureOfAnother(t *testing.T) {
	s := newScene(t)
	signed := orders(sealed.Signatures())
	for _, b := range []broker.Broker{s.shop, s.billing} {
		if err := b.Init(signed); err != nil {
			t.Fatal(err)
		}
	}
	p := s.sent(t, "orders.created", "pay alice")
	s.delivers(t, p, "pay alice")
	epoch, honest := learn(t, p.message.Body, s.members["shipping"]), dissect(t, p.message.Body)
	sign := func(who *identity.Identity, what string, digest []byte) []byte {
		sig, err := who.Sign(what, digest)
		if err != nil {
			t.Fatal(err)
		}
		return sized(nil, sig)
	}
	for name, proof := range map[string]func(digest []byte) []byte{
		"none":               func([]byte) []byte { return nil },
		"an empty one":       func([]byte) []byte { return []byte{0} },
		"of another message": func([]byte) []byte { return honest.proof },
		"of shipping":        func(digest []byte) []byte { return sign(s.members["shipping"], "envelope", digest) },
		"for another use":    func(digest []byte) []byte { return sign(s.members["shop"], "card", digest) },
		"and more":           func(digest []byte) []byte { return append(sign(s.members["shop"], "envelope", digest), 0) },
	} {
		f := epoch.seal(t, note{topic: p.topic, body: "pay mallory", counter: 9})
		f.proof = proof(f.digest(f.bound(p.topic, nil)))
		t.Log(name)
		s.refuses(t, f.on(p.topic, nil), false, tampered)
	}
	f := epoch.seal(t, note{topic: p.topic, body: "the control", counter: 10})
	f.proof = sign(s.members["shop"], "envelope", f.digest(f.bound(p.topic, nil)))
	s.delivers(t, f.on(p.topic, nil), "the control")
	publish(t, s.shop, "orders.created", "a good one")
	if got := s.in.bodies(); got[len(got)-1] != "a good one" {
		t.Errorf("got %q", got)
	}
}

// TestSpelling: go-micro makes title case of the names of headers on their way to a
// handler. What is routed by stays what was sealed.
func TestSpelling(t *testing.T) {
	s := newScene(t)
	p := s.sent(t, "orders.created", "x", "micro-topic", "invoices.sent", "content-type", "text/plain", "MICRO-TOPIC", "y")
	s.delivers(t, p, "x")
	m := s.in.last(t).Message()
	if m.Header["Micro-Topic"] != "orders.created" || m.Header["Content-Type"] != "" || m.Header["micro-topic"] != "invoices.sent" {
		t.Errorf("headers are %v", m.Header)
	}
}
