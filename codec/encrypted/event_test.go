package encrypted_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec/json"
	"go-micro.dev/v4/server"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
)

// subscription is a go-micro server that subscribes through a broker, and a client that
// publishes.
type subscription struct {
	broker   broker.Broker
	service  *service
	caller   *caller
	got      atomic.Int64
	from     atomic.Pointer[string]
	messages []*broker.Message
}

func newSubscription(t *testing.T, topics []string, opts ...encrypted.Option) *subscription {
	t.Helper()
	a := authority(t)
	b := &subscription{broker: broker.NewMemoryBroker()}
	s := &service{id: issue(t, a, "greeter"), handler: new(Greeter), rejected: new(rejections)}
	b.service = s
	all := append([]encrypted.Option{encrypted.OnReject(s.rejected.add), encrypted.Logger(quiet()), encrypted.Subscribers("orders", "greeter"), encrypted.Subscribers("refunds", "greeter")}, opts...)
	s.before = func(srv server.Server) {
		for _, topic := range topics {
			must(t, srv.Subscribe(srv.NewSubscriber(topic, func(ctx context.Context, r *Request) error {
				b.got.Add(1)
				who := "nobody"
				if peer, ok := encrypted.Caller(ctx); ok {
					who = peer.ID
				}
				who += ": " + r.Name
				b.from.Store(&who)
				return nil
			})))
		}
	}
	s.start(t, append(encrypted.ServerOptions(s.id, all...), server.Broker(b.broker))...)
	id := issue(t, a, "web")
	c := &caller{id: id, rejected: new(rejections)}
	c.Client = newClient(t, append(encrypted.ClientOptions(id, append(opts, encrypted.Subscribers("orders", "greeter"), encrypted.Subscribers("refunds", "greeter"))...), client.Broker(&tap{b.broker, &b.messages}))...)
	meet(t, id, s.id)
	b.caller = c
	return b
}

// tap records what is published.
type tap struct {
	broker.Broker
	messages *[]*broker.Message
}

func (t *tap) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	*t.messages = append(*t.messages, copyOf(m))
	return t.Broker.Publish(topic, m, opts...)
}

func copyOf(m *broker.Message) *broker.Message {
	out := &broker.Message{Header: map[string]string{}, Body: bytes.Clone(m.Body)}
	for k, v := range m.Header {
		out.Header[k] = v
	}
	return out
}

// TestEvents: an event is sealed for the subscribers of its topic, and for that topic.
func TestEvents(t *testing.T) {
	b := newSubscription(t, []string{"orders", "refunds", "greeter"})
	for i, topic := range []string{"orders", "greeter", "orders"} {
		must(t, b.caller.Publish(t.Context(), b.caller.NewMessage(topic, &Request{"Rumpelstiltskin"})))
		if n := b.got.Load(); n != int64(i+1) {
			t.Fatalf("after %d events the handler ran %d times; refused: %v", i+1, n, b.service.rejected.take())
		}
		if got := *b.from.Load(); got != b.caller.id.ID()+": Rumpelstiltskin" {
			t.Errorf("the handler saw %q", got)
		}
	}
	for _, m := range b.messages {
		if bytes.Contains(m.Body, []byte("Rumpel")) {
			t.Error("an event can be read")
		}
	}
	if err := b.caller.Publish(t.Context(), b.caller.NewMessage("nobody's", &Request{})); !errors.Is(err, encrypted.ErrNoKeys) {
		t.Errorf("a topic that nobody subscribes to: %v", err)
	}

	order := b.messages[0]
	before := b.got.Load()
	for name, tc := range map[string]struct {
		change func(*broker.Message)
		topic  string
		want   encrypted.Reason
	}{
		"on another topic":     {func(m *broker.Message) { m.Header["Micro-Topic"] = "refunds" }, "refunds", encrypted.Misdirected},
		"another topic inside": {func(m *broker.Message) { m.Header["Micro-Topic"] = "refunds" }, "orders", encrypted.Misdirected},
		"changed":              {func(m *broker.Message) { m.Body[len(m.Body)-1] ^= 1 }, "orders", encrypted.Tampered},
		"emptied":              {func(m *broker.Message) { m.Body = nil }, "orders", encrypted.Clear},
		"in clear":             {func(m *broker.Message) { m.Body = []byte(`{"Name":"x"}`) }, "orders", encrypted.Clear},
		"clear, so called": {func(m *broker.Message) {
			m.Body, m.Header["Content-Type"] = []byte(`{"Name":"x"}`), "application/json"
		}, "orders", ""},
		"as bytes": {func(m *broker.Message) { m.Header["Content-Type"] = encrypted.ContentTypeBytes }, "orders", encrypted.Tampered},
		"as proto": {func(m *broker.Message) { m.Header["Content-Type"] = encrypted.ContentTypeProto }, "orders", encrypted.Tampered},
	} {
		t.Run(name, func(t *testing.T) {
			m := copyOf(order)
			tc.change(m)
			b.service.rejected.take()
			if err := b.broker.Publish(tc.topic, m); err == nil {
				t.Error("no error")
			}
			if got := b.service.rejected.take(); tc.want != "" && !slices.Equal(got, []encrypted.Reason{tc.want}) {
				t.Errorf("the service was told %v, want %s", got, tc.want)
			}
			if n := b.got.Load() - before; n != 0 {
				t.Errorf("the handler ran %d times", n)
			}
		})
	}
	t.Run("through the transport", func(t *testing.T) {
		// go-micro takes any request with a topic for an event; it answers nothing.
		clear := &message{header: map[string][]string{"Content-Type": {"application/json"}, "Micro-Topic": {"orders"}}, body: []byte(`{"Name":"x"}`)}
		send(t, b.service.address, clear)
		if n := b.got.Load() - before; n != 0 {
			t.Errorf("the handler ran %d times", n)
		}
	})
	must(t, b.caller.Publish(t.Context(), b.caller.NewMessage("orders", &Request{"again"})))
	if n := b.got.Load() - before; n != 1 {
		t.Errorf("the good event after them reached the handler %d times", n)
	}
}

// TestBrokerSeals: with a broker that seals, events pass as they are.
func TestBrokerSeals(t *testing.T) {
	b := newSubscription(t, []string{"orders"}, encrypted.BrokerSeals())
	must(t, b.caller.Publish(t.Context(), b.caller.NewMessage("orders", &Request{"John"})))
	must(t, b.caller.Publish(t.Context(), b.caller.NewMessage("orders", &Request{"John"}, client.WithMessageContentType("application/json"))))
	if n := b.got.Load(); n != 2 {
		t.Errorf("the handler ran %d times", n)
	}
	if !bytes.Contains(b.messages[0].Body, []byte("John")) {
		t.Error("the event is sealed all the same")
	}
	// Calls are as they were.
	b.caller.works(t, b.service.address)
	if answer := send(t, b.service.address, &message{header: map[string][]string{
		"Content-Type": {"application/json"}, "Micro-Service": {"greeter"}, "Micro-Endpoint": {"Greeter.Hello"}, "Micro-Id": {"1"},
	}, body: []byte(`{"Name":"Mallory"}`)}); len(answer.body) > 0 {
		t.Errorf("a call in clear was answered with %q", answer.body)
	}
	if n := b.service.handler.calls.Load(); n != 1 {
		t.Errorf("the handler of calls ran %d times", n)
	}
}

// TestMarshaler: what one seals the other opens, as often as it likes.
func TestMarshaler(t *testing.T) {
	a := authority(t)
	web, greeter, other := issue(t, a, "web"), issue(t, a, "greeter"), issue(t, a, "other")
	meet(t, web, greeter)
	var told rejections
	opts := []encrypted.Option{encrypted.Logger(quiet()), encrypted.OnReject(told.add)}
	from := encrypted.NewMarshaler(web, json.Marshaler{}, []string{"greeter"}, opts...)
	data, err := from.Marshal(&Request{"Rumpelstiltskin"})
	must(t, err)
	if bytes.Contains(data, []byte("Rumpel")) {
		t.Error("it can be read")
	}
	to := encrypted.NewMarshaler(greeter, json.Marshaler{}, nil, opts...)
	for range 2 {
		var got Request
		if err := to.Unmarshal(data, &got); err != nil || got.Name != "Rumpelstiltskin" {
			t.Errorf("opened %q, error: %v", got.Name, err)
		}
	}
	var got Request
	if err := encrypted.NewMarshaler(other, json.Marshaler{}, nil, opts...).Unmarshal(data, &got); !errors.Is(err, encrypted.ErrRefused) || got.Name != "" {
		t.Errorf("another service: %q, error: %v", got.Name, err)
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		if err := to.Unmarshal(changed, &got); !errors.Is(err, encrypted.ErrRefused) || got.Name != "" {
			t.Fatalf("byte %d changed: %q, error: %v", i, got.Name, err)
		}
	}
	if err := to.Unmarshal([]byte(`{"Name":"x"}`), &got); !errors.Is(err, encrypted.ErrRefused) || got.Name != "" {
		t.Errorf("in clear: %q, error: %v", got.Name, err)
	}
	if _, err := to.Marshal(&Request{}); !errors.Is(err, encrypted.ErrNoKeys) {
		t.Errorf("without recipients: %v", err)
	}
	strict := encrypted.NewMarshaler(greeter, json.Marshaler{}, nil, append(opts, encrypted.Authorize(func(identity.Peer, string) error { return errors.New("no") }))...)
	if err := strict.Unmarshal(data, &got); !errors.Is(err, encrypted.ErrRefused) || got.Name != "" {
		t.Errorf("a sender that is not let in: %q, error: %v", got.Name, err)
	}
	must(t, a.Revoke(web))
	if err := to.Unmarshal(data, &got); !errors.Is(err, encrypted.ErrRefused) || got.Name != "" {
		t.Errorf("a sender that is revoked: %q, error: %v", got.Name, err)
	}
}
