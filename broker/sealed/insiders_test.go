package sealed_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/store"
)

// TestReusedBuffers: an inner broker may use the memory of a message for the next one as
// soon as it was delivered. Neither what the handler has got nor what is known of the
// sender changes with it.
func TestReusedBuffers(t *testing.T) {
	for name, rule := range map[string]sealed.TopicRule{"tags": sealed.Pad(1), "signatures": sealed.Signatures()} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, "billing", "shipping")
			f.issue("shop", identity.Ed25519()) // whose public key is bytes of the certificate
			f.introduce()
			w, told := newWire(), new(rejections)
			w.reuse = true
			shop, billing := f.join("shop", w, orders(rule)), f.join("billing", w, orders(rule), told.option())
			in := subscribe(t, billing, "orders.created")
			header := map[string]string{"Content-Type": "text/plain", "Micro-Topic": "orders.created"}
			w.set(func(packet) []packet { return nil })
			for i := range 3 {
				if err := shop.Publish("orders.created", &broker.Message{Header: header, Body: fmt.Append(nil, "body ", i)}); err != nil {
					t.Fatal(err)
				}
			}
			for i, p := range w.sent() {
				w.deliver(p)
				if err := f.authority.Revoke(f.issue(fmt.Sprint("other", i))); err != nil { // senders are looked at again
					t.Fatal(err)
				}
			}
			if got := in.bodies(); !slices.Equal(got, []string{"body 0", "body 1", "body 2"}) {
				t.Fatalf("got %q; rejections: %+v", got, told.take())
			}
			for _, e := range in.events {
				peer, _ := sealed.Sender(e)
				if !maps.Equal(e.Message().Header, header) || peer.Certificate == nil || string(peer.Certificate.Raw) != string(f.members["shop"].Peer().Certificate.Raw) {
					t.Errorf("a message is now %v, from %v", e.Message().Header, peer)
				}
			}
		})
	}
}

// TestSignatureLeftAway: where the rule has signatures, what has tags is refused. Its
// publisher could deny it.
func TestSignatureLeftAway(t *testing.T) {
	s := newScene(t)
	signed := orders(sealed.Signatures())
	if err := s.billing.Init(signed); err != nil {
		t.Fatal(err)
	}
	p := s.sent(t, "orders.created", "I never said it")
	s.refuses(t, p, false, badSuite)
	if err := s.shop.Init(signed); err != nil {
		t.Fatal(err)
	}
	s.delivers(t, s.sent(t, "orders.created", "signed"), "signed")
	if err := s.billing.Init(orders()); err != nil { // more than the rule asks for
		t.Fatal(err)
	}
	s.delivers(t, s.sent(t, "orders.created", "signed too"), "signed too")
}

// TestRoutedToStricter: by its Micro-Topic header no message gets to the handler of a
// topic whose rule would have refused it.
func TestRoutedToStricter(t *testing.T) {
	for name, strict := range map[string]sealed.TopicRule{"signatures": sealed.Signatures(), "post-quantum": sealed.RequirePostQuantum()} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, sealed.Topic("payments", sealed.Publishers("shop"), sealed.Subscribers("billing"), strict))
			s.refuses(t, s.sent(t, "orders.created", "x", "Micro-Topic", "payments"), false, badSuite)
			s.good(t)
		})
	}
}

// TestReservedHeaders: what transports of Signet put into the headers of a request does
// not come out of a message, sealed or in clear, however a publisher has put it there.
func TestReservedHeaders(t *testing.T) {
	s := newScene(t)
	shop := s.members["shop"]
	epoch := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(s.members["billing"]))
	for i, name := range []string{"Signet-Caller", "signet-caller", "SIGNET-CALLER-Local", "\u017fignet-Caller"} {
		n := note{topic: "orders.created", body: name, counter: uint32(i), clear: map[string]string{"Signet-Caller-Clear": "x", name: "forged"}}
		n.headers = [][2]string{{"Signet-Caller-Sealed", "x"}, {name + "-", "forged"}, {"X", "y"}}
		s.delivers(t, epoch.seal(t, n).on(n.topic, n.clear), name)
		if got := s.in.last(t).Message().Header; !maps.Equal(got, map[string]string{"X": "y", "Micro-Topic": "orders.created"}) {
			t.Errorf("headers are %v", got)
		}
	}
	if err := s.shop.Publish("orders.created", &broker.Message{Header: map[string]string{"signet-Caller": "x", "Y": "z"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.in.last(t).Message().Header; !maps.Equal(got, map[string]string{"Y": "z", "Micro-Topic": "orders.created"}) {
		t.Errorf("headers are %v", got)
	}
	s.good(t)
}

// TestEpochOutlivesCertificate: whose certificate has ended publishes no more, in epochs
// that were made before it neither.
func TestEpochOutlivesCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		shop := s.issue("shop", identity.ValidFor(time.Hour))
		h := headingOf(t, shop, 1)
		to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
		h.notAfter = shop.Peer().Certificate.NotAfter.Add(time.Second)
		n := note{topic: "orders.created", body: "x"}
		s.refuses(t, newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil), false, badPublisher)
		h.notAfter = shop.Peer().Certificate.NotAfter
		epoch := newSecrets(t, h, shop.BoxKeys()[0], to...)
		s.delivers(t, epoch.seal(t, n).on(n.topic, nil), "x")
		time.Sleep(2 * time.Hour)
		n.counter++
		s.refuses(t, epoch.seal(t, n).on(n.topic, nil), false, expired)
		n.time = h.notAfter.Add(-time.Minute) // it was on its way
		s.delivers(t, epoch.seal(t, n).on(n.topic, nil), "x")
	})
}

// TestReceiverNotReady: what is wrong with us alone, and may be put right, loses no
// message.
func TestReceiverNotReady(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		for _, known := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				if known {
					s.good(t)
				}
				p := s.sent(t, "orders.created", "x")
				s.members["billing"].Close()
				time.Sleep(2 * time.Minute)
				s.refuses(t, p, true, badPublisher, notRecipient)
			})
		}
	})
	t.Run("a stale revocation list", func(t *testing.T) {
		s := newScene(t)
		ours, until := s.listed(t, "billing")
		s.billing = s.join("billing", s.wire, sceneRules(), s.refused.option(), sealed.Identity(ours))
		s.in = newInbox()
		s.wire.subs = nil
		if _, err := s.billing.Subscribe("orders.created", s.in.handle); err != nil {
			t.Fatal(err)
		}
		s.good(t)
		shop := s.members["shop"]
		n := note{topic: "orders.created", body: "x"}
		epoch := newSecrets(t, headingOf(t, shop, 1), shop.BoxKeys()[0], memberOf(s.members["shipping"]), memberOf(ours))
		chain := []*x509.Certificate{shop.Peer().Certificate}
		for {
			if _, _, err := ours.Verify(chain); errors.Is(err, identity.ErrStaleCRL) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(until))
		}
		s.refuses(t, epoch.seal(t, n).on(n.topic, nil), true, badPublisher)
	})
}

// listed returns a member's identity as files have it, with a revocation list that ends
// in a moment.
func (s *scene) listed(t testing.TB, who string) (*identity.Identity, time.Time) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if err := s.authority.Save(dir); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(2 * time.Second)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: until}, s.authority.Certificate(), key.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), who)
	if err := s.members[who].Save(own); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "ca.crl"), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list}), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(own, identity.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	return id, until
}

// TestUnknownPublishers: names that nobody has cost neither memory nor the registry's
// patience for long.
func TestUnknownPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "billing")
		w, told := newWire(), new(rejections)
		reg := &countingRegistry{Registry: registry.NewRegistry()}
		rule := sealed.Topic("orders.*", sealed.AnyPublisher(), sealed.Subscribers("billing"))
		billing := f.join("billing", w, rule, broker.Registry(reg), told.option())
		subscribe(t, billing, "orders.created")
		ours, own := memberOf(f.members["billing"]), newBoxKey(t)
		h := heading{version: 1, suite: 1, senderKey: own.PublicKey().Bytes(), scope: "orders.*", created: time.Now(), notAfter: time.Now().Add(time.Hour), most: 1}
		h.sender = "spiffe://shop.internal/nobody"
		epoch := newSecrets(t, h, own, ours)
		var before, after runtime.MemStats
		const n = 20000
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			h := *epoch.heading
			h.sender = fmt.Sprintf("spiffe://shop.internal/%d/%s", i, strings.Repeat("x", 200))
			h.created, h.notAfter = time.Now(), time.Now().Add(time.Hour)
			fake := &secrets{heading: &h, header: h.bytes(), key: epoch.key, id: randomBytes(32), grants: epoch.grants}
			w.deliver(fake.seal(t, note{topic: "orders.created"}).on("orders.created", nil))
			told.take()
			time.Sleep(10 * time.Millisecond)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
			t.Errorf("%d names have left %d KiB", n, grown>>10)
		}
		if reg.asked.Load() == 0 {
			t.Error("nobody was asked")
		}
		runtime.KeepAlive(billing)
	})
}

// TestQueuesOfTwoServices: a store that two services share, whose queue groups have one
// name, keeps neither's messages from the other.
func TestQueuesOfTwoServices(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w, shared := newWire(), store.NewMemoryStore()
	shop := f.join("shop", w, orders())
	var boxes []*inbox
	for _, who := range []string{"billing", "shipping"} {
		b := f.join(who, w, orders(), sealed.ReplayStore(shared))
		boxes = append(boxes, subscribe(t, b, "orders.created", broker.Queue("workers")))
	}
	publish(t, shop, "orders.created", "x")
	for _, in := range boxes {
		if got := in.bodies(); !slices.Equal(got, []string{"x"}) {
			t.Errorf("got %q", got)
		}
	}
}

// TestUsedUp: an epoch that is at its end is followed by another, in the middle of what
// many goroutines publish.
func TestUsedUp(t *testing.T) {
	s := newScene(t)
	sealed.UseUp(s.shop, "orders.*", rand.Reader, 3)
	for range 10 {
		s.good(t)
	}
	if got := sealed.StatsOf(s.shop).EpochsMade; got != 2 {
		t.Errorf("%d epochs", got)
	}
}

// TestKeyWithdrawn: who has stolen a box key that was replaced, and whose grace is over,
// can use it no more against its owner, in epochs that are open neither.
func TestKeyWithdrawn(t *testing.T) {
	s := newScene(t)
	dir := filepath.Join(t.TempDir(), "billing")
	if err := s.members["billing"].Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)), identity.BoxKeyGrace(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	s.wire.subs = nil
	s.members["billing"] = id
	s.introduce()
	s.billing = s.join("billing", s.wire, sceneRules(), s.refused.option())
	s.in = subscribe(t, s.billing, "orders.created")
	s.good(t)
	p := s.sent(t, "orders.created", "x")
	stolen := learn(t, p.message.Body, id)
	renew(t, s.fleet, "billing", dir)
	n := note{topic: "orders.created", body: "forged", counter: 77}
	s.refuses(t, stolen.seal(t, n).on(n.topic, nil), false, notRecipient)
	s.refuses(t, p, false, notRecipient)
	s.introduce()
	publishUntil(t, s.shop, "new key", func() bool { return len(s.in.bodies()) > 1 })
	s.good(t)
}
