package sealed_test

import (
	"context"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/server"
)

// called is an event as go-micro's server hands it to wrappers.
type called struct {
	server.Message
	topic string
	body  []byte
}

func (c *called) Topic() string { return c.topic }
func (c *called) Body() []byte  { return c.body }

// through calls a wrapper with a message, and returns whom it says to have published.
func through(wrap server.SubscriberWrapper, topic string, body []byte) (from string, err error) {
	err = wrap(func(ctx context.Context, m server.Message) error {
		peer, _ := sealed.SenderFromContext(ctx)
		from = peer.ID
		return nil
	})(context.Background(), &called{topic: topic, body: body})
	return from, err
}

// TestWrappers: any number of them, made at any time, know the events of their broker
// that come from then on, and no others: nor those of another around the same inner one.
func TestWrappers(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop, billing, shipping := f.join("shop", w, orders()), f.join("billing", w, orders()), f.join("shipping", w, orders())
	var wrap []server.SubscriberWrapper
	var event broker.Event
	handle := func(e broker.Event) error {
		event = e
		body := e.Message().Body
		for i, wrap := range wrap {
			from, err := through(wrap, "orders.created", body)
			if i < 2 && (err != nil || from != "spiffe://shop.internal/shop") {
				t.Errorf("wrapper %d, body %q: from %q, %v", i, body, from, err)
			}
			if i == 2 && (err == nil || from != "") {
				t.Errorf("of another broker: from %q, %v", from, err)
			}
			for name, forged := range map[string][]byte{"copy": append([]byte(nil), body...), "nil": nil, "empty": {}} {
				if _, err := through(wrap, "orders.created", forged); err == nil {
					t.Errorf("wrapper %d takes forged body: %s", i, name)
				}
			}
			if _, err := through(wrap, "orders.changed", body); err == nil {
				t.Errorf("wrapper %d takes another topic", i)
			}
		}
		return nil
	}
	if _, err := billing.Subscribe("orders.created", handle); err != nil {
		t.Fatal(err)
	}
	publish(t, shop, "orders.created", "nobody asks")
	wrap = []server.SubscriberWrapper{sealed.SubscriberWrapper(billing), sealed.SubscriberWrapper(billing), sealed.SubscriberWrapper(shipping)}
	for _, body := range []string{"x", "an order"} {
		publish(t, shop, "orders.created", body)
	}
	if _, err := through(wrap[0], "orders.created", event.Message().Body); err == nil {
		t.Error("an event is taken after its handler")
	}
	publish(t, shop, "orders.created", "")
}
