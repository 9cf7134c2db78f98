package sealed_test

import (
	"bytes"
	"maps"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// TestPublish: subscribers get what was published, from whom it was, and the broker sees
// nothing of it.
func TestPublish(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop := f.join("shop", w, orders())
	billing, shipping := f.join("billing", w, orders()), f.join("shipping", w, orders())
	inboxes := []*inbox{subscribe(t, billing, "orders.created"), subscribe(t, shipping, "orders.created")}
	header := map[string]string{"Content-Type": "application/secret", "Micro-Topic": "orders.created", "X-Customer": "alice"}
	m := &broker.Message{Header: maps.Clone(header), Body: []byte("one secret order")}
	if err := shop.Publish("orders.created", m); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(m.Header, header) || string(m.Body) != "one secret order" {
		t.Errorf("the publisher's message was changed: %v", m)
	}
	for _, in := range inboxes {
		e := in.last(t)
		if got := e.Message(); e.Topic() != "orders.created" || string(got.Body) != "one secret order" || !maps.Equal(got.Header, header) {
			t.Errorf("got %q %v on %s", got.Body, got.Header, e.Topic())
		}
		peer, ok := sealed.Sender(e)
		if !ok || peer.ID != "spiffe://shop.internal/shop" || !peer.Serves("shop") || peer.Certificate == nil {
			t.Errorf("from %+v, %v", peer, ok)
		}
	}
	sent := w.last(t)
	if len(sent.message.Header) != 0 {
		t.Errorf("headers on the wire: %v", sent.message.Header)
	}
	for _, secret := range []string{"secret", "alice", "X-Customer"} {
		if bytes.Contains(sent.message.Body, []byte(secret)) {
			t.Errorf("%q is on the wire", secret)
		}
	}
	stats := sealed.StatsOf(billing)
	if stats.Delivered != 1 || stats.EpochsOpened != 1 || sealed.StatsOf(shop).Sealed != 1 || sealed.StatsOf(shop).EpochsMade != 1 {
		t.Errorf("counts are %+v and %+v", stats, sealed.StatsOf(shop))
	}
}
