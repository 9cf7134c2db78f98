package sealed_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	oldnats "github.com/go-micro/plugins/v4/broker/nats"
	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
)

// backend makes the inner broker of a member, all of one kind and together.
type backend struct {
	name string
	// open starts what the brokers need.
	open func(t *testing.T) func() broker.Broker
	// again: what a handler has failed on comes again by itself.
	again bool
}

var stream = nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"orders.>"}, Storage: jetstream.FileStorage})

var backends = []backend{
	{name: "memory", open: func(*testing.T) func() broker.Broker {
		inner := broker.NewMemoryBroker(broker.Logger(quiet))
		return func() broker.Broker { return inner }
	}},
	{name: "http", open: func(*testing.T) func() broker.Broker {
		reg := registry.NewMemoryRegistry(registry.Logger(quiet))
		return func() broker.Broker {
			return &fixedRegistry{broker.NewBroker(broker.Registry(reg), broker.Logger(quiet)), reg}
		}
	}},
	{name: "nats", open: func(t *testing.T) func() broker.Broker {
		s := natstest.Start(t)
		return func() broker.Broker { return nats.NewBroker(broker.Addrs(s.Addr()), broker.Logger(quiet)) }
	}},
	{name: "jetstream", again: true, open: func(t *testing.T) func() broker.Broker {
		s := natstest.Start(t, natstest.JetStream())
		return func() broker.Broker {
			return nats.NewBroker(broker.Addrs(s.Addr()), broker.Logger(quiet), nats.JetStream("ORDERS", stream, nats.RetryDelay(10*time.Millisecond, 50*time.Millisecond)))
		}
	}},
	{name: "old nats plugin", open: func(t *testing.T) func() broker.Broker {
		s := natstest.Start(t)
		return func() broker.Broker { return oldnats.NewBroker(broker.Addrs(s.Addr()), broker.Logger(quiet)) }
	}},
}

// fixedRegistry keeps the http broker on an unsigned registry of its own: its nodes have
// a name that is not a member's.
type fixedRegistry struct {
	broker.Broker
	own registry.Registry
}

func (f *fixedRegistry) Init(opts ...broker.Option) error {
	return f.Broker.Init(append(opts[:len(opts):len(opts)], broker.Registry(f.own))...)
}

// TestBackends: the wrapper keeps its contract over each of them.
func TestBackends(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { conforms(t, b) })
	}
}

func conforms(t *testing.T, b backend) {
	f := newFleet(t, "shop", "billing", "shipping", "crm")
	inner := b.open(t)
	var refused rejections
	clear := rule(sealed.ClearHeaders("Trace"))
	shop := f.join("shop", inner(), clear)
	billingBroker := f.join("billing", inner(), clear, refused.option())
	billing, twin := subscribe(t, billingBroker, "orders.created"), subscribe(t, billingBroker, "orders.created")
	shipping := subscribe(t, f.join("shipping", inner(), clear), "orders.created")

	// The old plugin's Subscribe returns before the server knows of it.
	eventually(t, "all hear the publisher", func() bool {
		publish(t, shop, "orders.created", "are you there")
		return billing.times("are you there") > 0 && twin.times("are you there") > 0 && shipping.times("are you there") > 0
	})

	header := map[string]string{"Content-Type": "text/plain", "CRLF": "a\r\nb", "UTF-8": "grüße", "Trace": " span ", "Empty": "", "Micro-Topic": "orders.created"}
	must(t, shop.Publish("orders.created", &broker.Message{Header: header, Body: []byte("hello")}))
	for _, in := range []*inbox{billing, twin, shipping} {
		in.want("hello")
		if in.times("hello") != 1 {
			t.Errorf("handled %d times", in.times("hello"))
		}
		m := in.last.Message()
		if !maps.Equal(m.Header, header) {
			t.Errorf("headers are %q", m.Header)
		}
		if peer, ok := sealed.Sender(in.last); !ok || !peer.Serves("shop") {
			t.Errorf("from %v", peer)
		}
	}
	// Who is not named can neither publish nor subscribe.
	crm := f.join("crm", inner(), clear)
	if err := crm.Publish("orders.created", &broker.Message{}); !errors.Is(err, sealed.ErrNotPublisher) {
		t.Errorf("a stranger publishes: %v", err)
	}
	// What somebody puts on the topic in clear reaches no handler.
	raw := inner()
	must(t, raw.Connect())
	if b.name != "memory" {
		t.Cleanup(func() { _ = raw.Disconnect() })
	}
	_ = raw.Publish("orders.created", &broker.Message{Header: map[string]string{}, Body: []byte("in clear")})
	publish(t, shop, "orders.created", "")
	publish(t, shop, "orders.created", "after it")
	billing.want("after it")
	if billing.times("in clear") != 0 || billing.times("") != 1 {
		t.Errorf("handled %v", billing.order)
	}
	eventually(t, "the clear message is reported", func() bool { return refused.of(sealed.ReasonUnsealed) > 0 })
	if b.again {
		billing.mu.Lock()
		billing.fail = func(body string, times int) error {
			if body == "twice" && times == 1 {
				return errors.New("not yet")
			}
			return nil
		}
		billing.mu.Unlock()
		publish(t, shop, "orders.created", "twice")
		billing.until("it comes again", func() bool { return billing.times("twice") == 2 })
	}
	publish(t, shop, "orders.created", "last")
	for _, in := range []*inbox{billing, twin, shipping} {
		in.want("last")
	}
}
