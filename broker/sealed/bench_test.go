package sealed_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// BenchmarkPublish is one message from Publish to the end of the handler of one of the
// recipients, in one goroutine: through the memory broker, and through one that copies
// what it publishes and gives each handler a body of its own, as broker/nats does.
func BenchmarkPublish(b *testing.B) {
	for name, inner := range map[string]func() broker.Broker{
		"memory": func() broker.Broker { return broker.NewMemoryBroker(broker.Logger(quiet)) },
		"direct": func() broker.Broker { return &direct{Broker: broker.NewMemoryBroker(broker.Logger(quiet))} },
	} {
		for _, n := range []int{1, 10} {
			b.Run(fmt.Sprintf("inner=%s/size=1024/recipients=%d", name, n), func(b *testing.B) { publishing(b, inner(), n) })
		}
	}
}

func publishing(b *testing.B, inner broker.Broker, recipients int) {
	names := []string{"shop"}
	for i := range recipients {
		names = append(names, fmt.Sprintf("r%d", i))
	}
	f := newFleet(b, names...)
	rule := sealed.Topic("orders.created", sealed.Publishers("shop"), sealed.Subscribers(names[1:]...))
	shop, r0 := f.join("shop", inner, rule), f.join("r0", inner, rule)
	sub, err := r0.Subscribe("orders.created", func(broker.Event) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sub.Unsubscribe() })
	m := &broker.Message{Header: map[string]string{"Content-Type": "application/json", "Micro-Topic": "orders.created"}, Body: []byte(strings.Repeat("x", 1024))}
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if err := shop.Publish("orders.created", m); err != nil {
			b.Fatal(err)
		}
	}
}

// direct is a broker of one subscriber whose handler runs within Publish.
type direct struct {
	broker.Broker
	handler broker.Handler
}

func (c *direct) CopiesPublished() bool { return true }

func (c *direct) Subscribe(topic string, h broker.Handler, opts ...broker.SubscribeOption) (broker.Subscriber, error) {
	c.handler = h
	return c.Broker.Subscribe(topic, h, opts...)
}

func (c *direct) Publish(topic string, m *broker.Message, _ ...broker.PublishOption) error {
	return c.handler(&copied{topic: topic, message: broker.Message{Header: m.Header, Body: bytes.Clone(m.Body)}})
}

// copied is an event whose body is the handler's own.
type copied struct {
	topic   string
	message broker.Message
}

func (c *copied) Topic() string            { return c.topic }
func (c *copied) Message() *broker.Message { return &c.message }
func (c *copied) OwnsBody() bool           { return true }
func (c *copied) Ack() error               { return nil }
func (c *copied) Error() error             { return nil }
