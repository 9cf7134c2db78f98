package sealed_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

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
