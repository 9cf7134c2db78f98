package sealed_test

import (
	"fmt"
	"testing"

	"go-micro.dev/v4/broker"
)

// keeper is an inner broker that keeps what it is given, as it is given.
type keeper struct {
	*wire
	kept []*broker.Message
}

func (k *keeper) Publish(_ string, m *broker.Message, _ ...broker.PublishOption) error {
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
