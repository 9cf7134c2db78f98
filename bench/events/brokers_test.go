package events

import (
	"fmt"
	"testing"

	gomicronats "github.com/go-micro/plugins/v4/broker/nats"
	signetnats "github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// A pair are the brokers of a publisher and of a subscriber, not connected yet. settle
// is called after the subscription was made, and waits until it is in force.
type pair struct {
	publisher, subscriber broker.Broker
	settle                func() error
}

// A maker makes the brokers that carry events.
type maker func(s *server.Server, m *meter) pair

// quiet is a logger that says nothing: go-micro's writes among the results.
func quiet() logger.Logger { return logger.NewLogger(logger.WithLevel(logger.FatalLevel)) }

// signetNATS is broker/nats. Its Subscribe waits for the server.
func signetNATS(s *server.Server, m *meter) pair {
	open := func() broker.Broker {
		return signetnats.NewBroker(broker.Addrs(s.ClientURL()), broker.Logger(quiet()),
			signetnats.OnIncident(func(i signetnats.Incident) { m.fail(fmt.Errorf("%v: %w", i.Kind, i.Err)) }))
	}
	return pair{open(), open(), func() error { return nil }}
}

// goMicroNATS is go-micro's NATS plugin, which is silent about its connection: that it
// has subscribed can be known only from the connection itself.
func goMicroNATS(s *server.Server, m *meter) pair {
	connected := make(chan *natsgo.Conn, 1)
	opts := natsgo.GetDefaultOptions()
	opts.AllowReconnect = false
	opts.AsyncErrorCB = func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { m.fail(err) }
	listening := opts
	listening.ConnectedCB = func(nc *natsgo.Conn) { connected <- nc }
	open := func(o natsgo.Options) broker.Broker {
		return gomicronats.NewBroker(broker.Addrs(s.ClientURL()), broker.Logger(quiet()), gomicronats.Options(o))
	}
	return pair{open(opts), open(listening), func() error { return (<-connected).Flush() }}
}

// memory is go-micro's memory broker: publisher and subscriber share it.
func memory(*server.Server, *meter) pair {
	b := broker.NewMemoryBroker(broker.Logger(quiet()))
	return pair{b, b, func() error { return nil }}
}

// inClear publishes and subscribes in clear.
func inClear(of maker) func(testing.TB, *server.Server, *meter) func([]byte) error {
	return func(tb testing.TB, s *server.Server, m *meter) func([]byte) error {
		return of(s, m).open(tb, m)
	}
}

// sealedOver publishes and subscribes with broker/sealed around other brokers, for n
// recipients, one of whom subscribes. They know each other by their cards.
func sealedOver(of maker, n int, rules ...sealed.TopicRule) func(testing.TB, *server.Server, *meter) func([]byte) error {
	return func(tb testing.TB, s *server.Server, m *meter) func([]byte) error {
		authority, err := identity.NewAuthority("shop.internal")
		if err != nil {
			tb.Fatal(err)
		}
		shop := issue(tb, authority, "shop")
		var names []string
		var first *identity.Identity
		for i := range n {
			names = append(names, fmt.Sprintf("r%d", i))
			id := issue(tb, authority, names[i])
			card, err := id.Card()
			if err != nil {
				tb.Fatal(err)
			}
			if err := shop.AddCard(card); err != nil {
				tb.Fatal(err)
			}
			if i == 0 {
				first = id
			}
		}
		wrap := func(inner broker.Broker, id *identity.Identity) broker.Broker {
			return sealed.NewBroker(sealed.Wrap(inner), sealed.Identity(id), broker.Logger(quiet()),
				sealed.Topic(topic, append(rules, sealed.Publishers("shop"), sealed.Subscribers(names...))...),
				sealed.OnReject(func(r sealed.Rejection) { m.fail(r.Err) }))
		}
		p := of(s, m)
		p.publisher, p.subscriber = wrap(p.publisher, shop), wrap(p.subscriber, first)
		return p.open(tb, m)
	}
}

func issue(tb testing.TB, authority *identity.Authority, service string) *identity.Identity {
	tb.Helper()
	id, err := authority.Issue(service)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { id.Close() })
	return id
}

// open connects both, subscribes, and returns how to publish with go-micro's two headers.
func (p pair) open(tb testing.TB, m *meter) func(body []byte) error {
	tb.Helper()
	for _, b := range []broker.Broker{p.publisher, p.subscriber} {
		if err := b.Connect(); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := b.Disconnect(); err != nil {
				tb.Errorf("disconnect: %v", err)
			}
		})
	}
	_, err := p.subscriber.Subscribe(topic, func(e broker.Event) error {
		m.deliver(e.Message().Body)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.settle(); err != nil {
		tb.Fatal(err)
	}
	message := &broker.Message{Header: map[string]string{"Content-Type": "application/octet-stream", "Micro-Topic": topic}}
	return func(body []byte) error {
		message.Body = body
		return p.publisher.Publish(topic, message)
	}
}
