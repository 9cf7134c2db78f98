package sealed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// Order is what the services tell each other.
type Order struct {
	ID string `json:"id"`
}

// got is what a subscriber of a go-micro server was called with.
type got struct {
	id, from, topic string
	known           bool
}

// station is a go-micro server, and what its subscribers get.
type station struct {
	server.Server
	mu   sync.Mutex
	all  []got
	hold chan struct{} // if there is one, handlers wait for it
	at   chan struct{} // handlers that have begun
}

func (s *station) handle(ctx context.Context, o *Order) error {
	peer, known := sealed.SenderFromContext(ctx)
	topic, _ := metadata.Get(ctx, "Micro-Topic")
	s.mu.Lock()
	s.all = append(s.all, got{o.ID, peer.ID, topic, known})
	s.mu.Unlock()
	s.at <- struct{}{}
	if s.hold != nil {
		<-s.hold
	}
	switch o.ID {
	case "fail":
		return errors.New("out of stock")
	case "panic":
		panic("a bug")
	}
	return nil
}

func (s *station) take() []got {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// startServer starts billing's server on a transport, with a broker and wrappers.
func startServer(t *testing.T, tr transport.Transport, b broker.Broker, wrappers ...server.SubscriberWrapper) *station {
	t.Helper()
	s := &station{at: make(chan struct{}, 1000)}
	opts := []server.Option{
		server.Name("billing"), server.Address("127.0.0.1:0"), server.Transport(tr), server.Broker(b),
		server.Registry(registry.NewMemoryRegistry()), server.WithLogger(quiet),
	}
	for _, w := range wrappers {
		opts = append(opts, server.WrapSubscriber(w))
	}
	s.Server = server.NewServer(opts...)
	for _, topic := range []string{"orders.created", "invoices.sent"} {
		if err := s.Subscribe(s.NewSubscriber(topic, s.handle)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// stop stops the server. A connection that ends at that moment may take the signal away,
// and the Stop that has sent it then waits for ever.
func (s *station) stop(t *testing.T) {
	const tries = 10
	stopped := make(chan error, tries)
	for range tries {
		go func() { stopped <- s.Stop() }()
		select {
		case err := <-stopped:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Second):
		}
	}
	t.Error("the server does not stop")
}

// smuggle calls a server with a message that it takes for an event, as anybody can who
// reaches its address, and returns what the server says to it.
func (s *station) smuggle(t *testing.T, tr transport.Transport, topic, body string, header ...string) string {
	t.Helper()
	c, err := tr.Dial(s.Options().Address, transport.WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := &transport.Message{Header: map[string]string{"Micro-Topic": topic, "Content-Type": "application/json"}, Body: []byte(body)}
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = header[i+1]
	}
	if err := c.Send(m); err != nil {
		t.Fatal(err)
	}
	var answer transport.Message
	if err := c.Recv(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Header["Micro-Error"]
}

// publishOrder publishes as services do.
func publishOrder(b broker.Broker, tr transport.Transport, id string, opts ...client.PublishOption) error {
	c := client.NewClient(client.Broker(b), client.Transport(tr), client.ContentType("application/json"))
	return c.Publish(context.Background(), c.NewMessage("orders.created", &Order{id}), opts...)
}

// TestServer: events that came through the broker reach the subscribers of a go-micro
// server, who learn who has published. An event that somebody hands to the server as a
// call does not, with SubscriberWrapper; without it, it does.
func TestServer(t *testing.T) {
	const refused = "it did not come through the broker"
	for name, newTransport := range map[string]func() transport.Transport{
		"memory": func() transport.Transport { return transport.NewMemoryTransport() },
		"http":   func() transport.Transport { return transport.NewHTTPTransport() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, "shop", "billing", "shipping", "crm")
			start := func(t *testing.T, wrap func(billing broker.Broker) []server.SubscriberWrapper) (*station, transport.Transport, broker.Broker, *rejections) {
				tr, w, told := newTransport(), newWire(), new(rejections)
				billing := f.join("billing", w, sceneRules(), told.option())
				return startServer(t, tr, billing, wrap(billing)...), tr, f.join("shop", w, sceneRules()), told
			}
			want := got{"1", "spiffe://shop.internal/shop", "orders.created", true}
			t.Run("without the wrapper", func(t *testing.T) { // the control: the attack works
				s, tr, shop, _ := start(t, func(broker.Broker) []server.SubscriberWrapper { return nil })
				if err := publishOrder(shop, tr, "1"); err != nil {
					t.Fatal(err)
				}
				if told := s.smuggle(t, tr, "orders.created", `{"id":"forged"}`); told != "" {
					t.Errorf("the attacker was told %q", told)
				}
				if all := s.take(); len(all) != 2 || all[1].id != "forged" || all[0].known {
					t.Errorf("got %+v", all)
				}
			})
			t.Run("an event smuggled in through RPC", func(t *testing.T) {
				s, tr, shop, told := start(t, func(b broker.Broker) []server.SubscriberWrapper {
					return []server.SubscriberWrapper{sealed.SubscriberWrapper(b)}
				})
				s.hold = make(chan struct{})
				published := make(chan error)
				go func() { published <- publishOrder(shop, tr, "1") }()
				<-s.at
				attack := func() {
					t.Helper()
					for _, attempt := range [][]string{
						{"orders.created", `{"id":"forged"}`}, {"orders.created", `{"id":"1"}`}, {"invoices.sent", `{"id":"1"}`}, {"orders.created", ""}, {"orders.created", "{}"},
						{"orders.created", `{"id":"1"}`, "Micro-Id", "1", "Signet-Caller", "x", "Local", "a", "Remote", "b"},
					} {
						answer := s.smuggle(t, tr, attempt[0], attempt[1], attempt[2:]...)
						if attempt[1] != "" && !strings.Contains(answer, refused) {
							t.Errorf("%q: the attacker was told %q", attempt, answer)
						}
					}
				}
				attack() // while the true one is being handled
				close(s.hold)
				if err := <-published; err != nil {
					t.Fatal(err)
				}
				attack() // and just after
				if all := s.take(); !slices.Equal(all, []got{want}) {
					t.Errorf("got %+v", all)
				}
				rejected := told.take()
				if len(rejected) != 10 { // of those whose body is an order
					t.Errorf("%d rejections", len(rejected))
				}
				for _, j := range rejected {
					if j.Reason != unsealed || j.Peer.ID != "" || j.Err == nil {
						t.Errorf("rejected as %+v", j)
					}
				}
				if err := publishOrder(shop, tr, "1"); err != nil {
					t.Fatal(err)
				}
				if all := s.take(); !slices.Equal(all, []got{want}) {
					t.Errorf("after it, got %+v", all)
				}
			})
			for name, other := range map[string]broker.Broker{
				"a wrapper of another broker": f.join("billing", newWire(), sceneRules()),
				"a wrapper of no such broker": broker.NewMemoryBroker(),
				"a wrapper of nothing":        nil,
			} {
				t.Run(name, func(t *testing.T) { // nothing comes through it
					s, tr, shop, _ := start(t, func(broker.Broker) []server.SubscriberWrapper {
						return []server.SubscriberWrapper{sealed.SubscriberWrapper(other)}
					})
					if err := publishOrder(shop, tr, "1"); err == nil || !strings.Contains(err.Error(), refused) {
						t.Errorf("error is %v", err)
					}
					s.smuggle(t, tr, "orders.created", `{"id":"forged"}`)
					if all := s.take(); len(all) > 0 {
						t.Errorf("got %+v", all)
					}
				})
			}
		})
	}
}

// TestServerEvents: what go-micro's server makes of events stays as it was: errors and
// panics of its subscribers go back to the broker, and the message may come again.
func TestServerEvents(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping", "crm")
	tr, w, told := transport.NewMemoryTransport(), newWire(), new(rejections)
	billing := f.join("billing", w, sceneRules(), told.option())
	s := startServer(t, tr, billing, sealed.SubscriberWrapper(billing))
	shop := f.join("shop", w, sceneRules())
	for id, says := range map[string]string{"fail": "out of stock", "panic": "a bug"} {
		if err := publishOrder(shop, tr, id); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v", id, err)
		}
		if got := w.deliver(w.last(t)); len(got) != 1 || got[0].err == nil {
			t.Errorf("%s again: settled with %+v", id, got)
		}
		if all := s.take(); len(all) != 2 || all[1].id != id {
			t.Errorf("%s: got %+v", id, all)
		}
	}
	// The handler of a topic is called for what may be published on that topic alone.
	if err := publishOrder(shop, tr, "exchange", client.WithExchange("orders.created")); err != nil {
		t.Fatal(err)
	}
	c := client.NewClient(client.Broker(shop), client.Transport(tr), client.ContentType("application/json"))
	s.take()
	if err := c.Publish(context.Background(), c.NewMessage("invoices.sent", &Order{"forged"}), client.WithExchange("orders.created")); err != nil {
		t.Fatal(err)
	}
	if all := s.take(); len(all) > 0 {
		t.Errorf("a handler was called: %+v", all)
	}
	if all := told.take(); len(all) != 1 || all[0].Reason != badTopic {
		t.Errorf("rejections: %+v", all)
	}
	// Headers of a request that is being handled go along, but not who has called.
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{"Signet-Caller": "sealed", "signet-caller-x": "y", "Tenant": "t"})
	if err := c.Publish(ctx, c.NewMessage("orders.created", &Order{"2"})); err != nil {
		t.Fatal(err)
	}
	var seen map[string]string
	in := subscribe(t, billing, "orders.created")
	w.deliver(w.last(t))
	seen = maps.Clone(in.last(t).Message().Header)
	if seen["Tenant"] != "t" || seen["Signet-Caller"] != "" || seen["Signet-Caller-X"] != "" {
		t.Errorf("headers are %v", seen)
	}
}

// TestServerConcurrently: each event has its own sender, however many there are at once.
func TestServerConcurrently(t *testing.T) {
	f := newFleet(t, "billing", "a", "b", "c")
	rule := sealed.Topic("orders.created", sealed.AnyPublisher(), sealed.Subscribers("billing"))
	invoices := sealed.Topic("invoices.sent", sealed.AnyPublisher(), sealed.Subscribers("billing"))
	tr, w := transport.NewMemoryTransport(), newWire()
	billing := f.join("billing", w, rule, invoices)
	s := startServer(t, tr, billing, sealed.SubscriberWrapper(billing))
	var wg sync.WaitGroup
	for _, who := range []string{"a", "b", "c"} {
		b := f.join(who, w, rule, invoices)
		for g := range 3 {
			wg.Go(func() {
				for i := range 10 {
					if err := publishOrder(b, tr, fmt.Sprint(who, " ", g, " ", i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	all := s.take()
	if len(all) != 90 {
		t.Errorf("%d events", len(all))
	}
	for _, e := range all {
		if want := "spiffe://shop.internal/" + e.id[:1]; e.from != want || !e.known {
			t.Errorf("%s is from %s", e.id, e.from)
		}
	}
}
