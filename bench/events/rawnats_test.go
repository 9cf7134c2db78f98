package events

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// connect makes a connection of nats.go.
func connect(tb testing.TB, s *server.Server, m *meter) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { m.fail(err) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// listen subscribes, and returns once the server knows.
func listen(tb testing.TB, nc *nats.Conn, h nats.MsgHandler) {
	tb.Helper()
	if _, err := nc.Subscribe(topic, h); err != nil {
		tb.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		tb.Fatal(err)
	}
}

// rawNATS is nats.go with nothing around it: the limit.
func rawNATS(tb testing.TB, s *server.Server, m *meter) func([]byte) error {
	listen(tb, connect(tb, s, m), func(msg *nats.Msg) { m.deliver(msg.Data) })
	publisher := connect(tb, s, m)
	return func(body []byte) error { return publisher.Publish(topic, body) }
}

// xkeys is nats.go with each body sealed by NATS's own curve keys.
func xkeys(tb testing.TB, s *server.Server, m *meter) func([]byte) error {
	shop, shopPublic := newCurveKeys(tb)
	billing, billingPublic := newCurveKeys(tb)
	listen(tb, connect(tb, s, m), func(msg *nats.Msg) {
		body, err := billing.Open(msg.Data, shopPublic)
		if err != nil {
			m.fail(err)
		}
		m.deliver(body)
	})
	publisher := connect(tb, s, m)
	return func(body []byte) error {
		sealed, err := shop.Seal(body, billingPublic)
		if err != nil {
			return err
		}
		return publisher.Publish(topic, sealed)
	}
}

func newCurveKeys(tb testing.TB) (nkeys.KeyPair, string) {
	tb.Helper()
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		tb.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	return pair, public
}
