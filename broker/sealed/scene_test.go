package sealed_test

import (
	"slices"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// scene is a publisher, a subscriber, and a broker between them whose operator is the
// attacker. billing subscribes to orders.created; shipping can read it too. Of private.*
// billing is the only reader; on invoices.* crm publishes. mallory is a member without
// any right.
type scene struct {
	*fleet
	wire    *wire
	shop    broker.Broker
	billing broker.Broker
	in      *inbox
	refused *rejections
}

func sceneRules() broker.Option {
	return func(o *broker.Options) {
		orders(sealed.ClearHeaders("Trace"))(o)
		sealed.Topic("private.*", sealed.Publishers("shop"), sealed.Subscribers("billing"))(o)
		sealed.Topic("invoices.*", sealed.Publishers("crm"), sealed.Subscribers("billing"))(o)
	}
}

func newScene(t testing.TB, opts ...broker.Option) *scene {
	t.Helper()
	s := &scene{fleet: newFleet(t, "shop", "billing", "shipping", "crm", "mallory"), wire: newWire(), refused: new(rejections)}
	opts = append([]broker.Option{sceneRules()}, opts...)
	s.shop = s.join("shop", s.wire, opts...)
	s.billing = s.join("billing", s.wire, append(opts, s.refused.option())...)
	s.in = subscribe(t, s.billing, "orders.created")
	return s
}

// sent publishes a message that nobody gets, and returns it.
func (s *scene) sent(t testing.TB, topic, body string, header ...string) packet {
	t.Helper()
	s.wire.set(func(packet) []packet { return nil })
	defer s.wire.set(nil)
	publish(t, s.shop, topic, body, header...)
	return s.wire.last(t)
}

// refuses delivers a message that has to be refused, for one of some reasons; again if it
// should have been delivered again.
func (s *scene) refuses(t testing.TB, p packet, again bool, reasons ...sealed.Reason) {
	t.Helper()
	before := len(s.in.bodies())
	s.refused.take()
	outcomes := s.wire.deliver(p)
	if got := s.in.bodies(); len(got) != before {
		t.Fatalf("the handler was called: %q", got[before:])
	}
	told := s.refused.take()
	if len(outcomes) == 0 || len(told) != len(outcomes) {
		t.Fatalf("%d deliveries, %d rejections", len(outcomes), len(told))
	}
	for _, o := range outcomes {
		// All that the broker ever learns is one of these two.
		want := outcome{terms: 1}
		if again {
			want = outcome{err: o.err}
			if o.err == nil || o.err.Error() != "sealed: message refused" {
				t.Errorf("the broker was told %v", o.err)
			}
		}
		if o != want {
			t.Errorf("it was settled with %+v, want %+v", o, want)
		}
	}
	for _, j := range told {
		if !slices.Contains(reasons, j.Reason) || j.Again != again || j.Err == nil {
			t.Errorf("rejected with %s, again %v: %v; want %s, again %v", j.Reason, j.Again, j.Err, reasons, again)
		}
		if want := p.topic[:min(len(p.topic), 600)]; j.Topic != want {
			t.Errorf("rejected on %q", j.Topic)
		}
	}
}

// delivers delivers a message that has to arrive, once for each subscription.
func (s *scene) delivers(t testing.TB, p packet, body string) {
	t.Helper()
	before := len(s.in.bodies())
	s.refused.take()
	outcomes := s.wire.deliver(p)
	got := s.in.bodies()[before:]
	if len(got) != 1 || got[0] != body || len(outcomes) != 1 || outcomes[0] != (outcome{}) {
		t.Errorf("got %q, want %q; settled with %+v; rejections: %+v", got, body, outcomes, s.refused.take())
	}
}

// good makes sure that the subscription still delivers.
func (s *scene) good(t testing.TB) {
	t.Helper()
	before := len(s.in.bodies())
	s.refused.take()
	publish(t, s.shop, "orders.created", "a good one", "Content-Type", "application/json", "Trace", "abc")
	got := s.in.bodies()[before:]
	if len(got) != 1 || got[0] != "a good one" {
		t.Fatalf("after it, the subscription delivers %q; rejections: %+v", got, s.refused.take())
	}
	e := s.in.last(t)
	peer, ok := sealed.Sender(e)
	if m := e.Message(); !ok || peer.ID != "spiffe://shop.internal/shop" || m.Header["Content-Type"] != "application/json" || m.Header["Trace"] != "abc" {
		t.Errorf("after it, from %v, %v: %v", peer, ok, m.Header)
	}
}
