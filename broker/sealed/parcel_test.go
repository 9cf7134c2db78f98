package sealed_test

import (
	"fmt"
	"testing"

	"go-micro.dev/v4/broker"
)

// keeper is an inner broker that keeps what it is given, and marks it.
type keeper struct {
	*wire
	kept []*broker.Message
}

func (k *keeper) Publish(_ string, m *broker.Message, _ ...broker.PublishOption) error {
	m.Header["Kept"] = "yes"
	k.kept = append(k.kept, m)
	return nil
}

// copying says that it keeps nothing.
type copying struct {
	*wire
	bodies map[*byte]int
}

func (*copying) CopiesPublished() bool { return true }

func (c *copying) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	c.bodies[&m.Body[0]]++
	return c.wire.Publish(topic, m, opts...) // which copies
}

// TestInnerBrokerKeepsMessages: what was published is the inner broker's, unless it says
// that it does not need it.
func TestInnerBrokerKeepsMessages(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	k := &keeper{wire: newWire()}
	shop, in := f.join("shop", k, orders()), subscribe(t, f.join("billing", k.wire, orders()), "orders.created")
	for i := range 20 {
		publish(t, shop, "orders.created", fmt.Sprint("order ", i))
	}
	for i, m := range k.kept {
		if got := k.deliver(packet{"orders.created", m}); len(got) != 1 || got[0].err != nil {
			t.Fatalf("message %d: %v", i, got)
		}
	}
	for i, body := range in.bodies() {
		if want := fmt.Sprint("order ", i); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	if got := len(in.bodies()); got != 20 {
		t.Errorf("%d messages were delivered, want 20", got)
	}
}

// TestCopyingBrokerSavesMemory: the memory of a message is used again, also for longer
// and shorter ones.
func TestCopyingBrokerSavesMemory(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	c := &copying{wire: newWire(), bodies: make(map[*byte]int)}
	shop, in := f.join("shop", c, orders()), subscribe(t, f.join("billing", c, orders()), "orders.created")
	const n = 100
	for i := range n {
		publish(t, shop, "orders.created", fmt.Sprintf("%0*d", 1+i*7%50, i), "Trace", fmt.Sprint(i))
	}
	for i, body := range in.bodies() {
		if want := fmt.Sprintf("%0*d", 1+i*7%50, i); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
	if got := len(in.bodies()); got != n {
		t.Errorf("%d messages were delivered, want %d", got, n)
	}
	if len(c.bodies) == n {
		t.Error("each message took memory of its own")
	}
}

// owned is an event whose body is the handler's own.
type owned struct{ *wireEvent }

func (owned) OwnsBody() bool { return true }

// TestBodyIsOpenedInItsPlace: only where it is the handler's own.
func TestBodyIsOpenedInItsPlace(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop, in := f.join("shop", w, orders()), subscribe(t, f.join("billing", w, orders()), "orders.created")
	handle := w.subs[0].handler
	w.on = func(packet) []packet { return nil } // it is delivered here
	for _, body := range []string{"an order", ""} {
		for _, own := range []bool{false, true} {
			publish(t, shop, "orders.created", body, "Trace", "1")
			p := w.last(t)
			sent := string(p.message.Body)
			var e broker.Event = &wireEvent{packet: p}
			if own {
				e = owned{&wireEvent{packet: p}}
			}
			if err := handle(e); err != nil {
				t.Fatal(err)
			}
			if got := in.last(t).Message(); string(got.Body) != body || got.Header["Trace"] != "1" {
				t.Errorf("body %q, own %v: got %q with %v", body, own, got.Body, got.Header)
			}
			if changed := string(p.message.Body) != sent; changed != own {
				t.Errorf("body %q, own %v: the inner message was changed: %v", body, own, changed)
			}
		}
	}
}
