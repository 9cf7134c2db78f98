package sealed_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/go-signet/signet/identity"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

func open(addr string, opts ...broker.Option) broker.Broker {
	return nats.NewBroker(append([]broker.Option{broker.Addrs(addr), broker.Logger(quiet)}, opts...)...)
}

var quick = nats.RetryDelay(10*time.Millisecond, 50*time.Millisecond)

// TestTLSAndAccounts: over mutual TLS, with an account for each service at NATS: who may
// not publish there fails there too, and payloads stay closed to the server.
func TestTLSAndAccounts(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t, natstest.TLS(f.authority), natstest.Users(
		natstest.User{Name: "operator", Password: "o"},
		natstest.User{Name: "shop", Password: "s", Publish: []string{"orders.>"}, Subscribe: []string{}},
		natstest.User{Name: "billing", Password: "b", Publish: []string{}, Subscribe: []string{"orders.>"}},
	))
	inner := func(who, password string) broker.Broker {
		return open(s.Addr(), nats.Identity(f.members[who].id), nats.Auth(who, password))
	}
	operator := make(chan []byte, 16)
	sub, err := s.Client().Subscribe("orders.>", func(m *natsgo.Msg) { operator <- m.Data })
	must(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	shop, billing := f.join("shop", inner("shop", "s")), f.join("billing", inner("billing", "b"))
	in := subscribe(t, billing, "orders.created")
	publish(t, shop, "orders.created", "an order")
	in.want("an order")
	if seen := <-operator; len(seen) == 0 || string(seen[:4]) != "SGNE" {
		t.Errorf("the operator sees %q", seen)
	}
	if _, err := f.members["shop"].join(inner("shop", "s"), sealed.Topic("orders.>", sealed.Publishers("shop"), sealed.Subscribers("shop"))).Subscribe("orders.created", in.handle); err == nil {
		t.Error("an account without the right subscribes")
	}
}

// TestServerRestart: subscriptions outlive the server, and epochs too.
func TestServerRestart(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t)
	shop, billing := f.join("shop", open(s.Addr())), f.join("billing", open(s.Addr()))
	in := subscribe(t, billing, "orders.created")
	publish(t, shop, "orders.created", "before")
	in.want("before")
	s.Kill()
	s.Restart(nil)
	n := 0
	eventually(t, "it is delivered again", func() bool {
		n++
		_ = shop.Publish("orders.created", &broker.Message{Body: fmt.Appendf(nil, "after %d", n)})
		_, different := in.count()
		return different > 1
	})
	if stats := sealed.StatsOf(billing); stats.EpochsOpened != 1 {
		t.Errorf("%d epochs were opened", stats.EpochsOpened)
	}
}

// TestSlowConsumer: what a handler is too slow for is dropped by the inner broker, and
// what comes afterwards is delivered.
func TestSlowConsumer(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t)
	var dropped atomic.Int64
	slow := open(s.Addr(), nats.PendingLimits(10, 1<<20), nats.OnIncident(func(nats.Incident) { dropped.Add(1) }))
	shop, billing := f.join("shop", open(s.Addr())), f.join("billing", slow)
	in, release := newInbox(t), make(chan struct{})
	_, err := billing.Subscribe("orders.created", func(e broker.Event) error {
		<-release
		return in.handle(e)
	})
	must(t, err)
	for i := range 200 {
		publish(t, shop, "orders.created", fmt.Sprint(i))
	}
	eventually(t, "the dropped messages are reported", func() bool { return dropped.Load() > 0 })
	close(release)
	eventually(t, "it delivers again", func() bool {
		publish(t, shop, "orders.created", "good")
		return in.times("good") > 0
	})
	if all, _ := in.count(); all > 100 {
		t.Errorf("%d messages waited", all)
	}
}

// TestPublisherRestarted: a publisher that starts again in the middle of an epoch begins
// another, and receivers notice nothing.
func TestPublisherRestarted(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t)
	in := subscribe(t, f.join("billing", open(s.Addr())), "orders.created")
	for i := range 5 {
		shop := f.members["shop"].wrap(open(s.Addr()))
		must(t, shop.Connect())
		for k := range 10 {
			publish(t, shop, "orders.created", fmt.Sprintf("%d.%d", i, k))
		}
		must(t, shop.Disconnect())
	}
	in.until("all arrive", func() bool { all, _ := in.count(); return all == 50 })
}

// TestUnacknowledged: a message whose handler has failed survives the subscriber, and is
// handled once by the one that comes after it.
func TestUnacknowledged(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t, natstest.JetStream())
	js := func() broker.Broker { return open(s.Addr(), nats.JetStream("ORDERS", stream, quick)) }
	shop := f.join("shop", js())
	first := f.members["billing"].wrap(js())
	must(t, first.Connect())
	failing := newInbox(t)
	failing.fail = func(string, int) error { return errors.New("the database is down") }
	_, err := first.Subscribe("orders.created", failing.handle, broker.Queue("billing"))
	must(t, err)
	publish(t, shop, "orders.created", "precious")
	failing.until("it fails", func() bool { return failing.times("precious") > 2 })
	must(t, first.Disconnect())
	s.Kill()
	s.Restart(nil)
	second := subscribe(t, f.join("billing", js()), "orders.created", broker.Queue("billing"))
	second.want("precious")
	eventually(t, "and what comes later", func() bool {
		return shop.Publish("orders.created", &broker.Message{Body: []byte("later")}) == nil && second.times("later") > 0
	})
	if second.times("precious") != 1 {
		t.Errorf("handled %d times", second.times("precious"))
	}
}

// TestRecipientsComeAndGo: replicas with keys of their own join and leave, and a new
// service gets in with its rule, while messages flow.
func TestRecipientsComeAndGo(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t)
	shop := f.join("shop", open(s.Addr()))
	first := subscribe(t, f.join("billing", open(s.Addr())), "orders.created")
	flow := func(what string, done func() bool) {
		t.Helper()
		n := 0
		eventually(t, what, func() bool {
			n++
			publish(t, shop, "orders.created", fmt.Sprintf("%s %d", what, n))
			return done()
		})
	}
	heard := func(i *inbox) func() bool {
		before, _ := i.count()
		return func() bool { all, _ := i.count(); return all > before }
	}
	flow("one", heard(first))
	replica := f.add("billing")
	var refused rejections
	second := subscribe(t, replica.join(open(s.Addr()), refused.option()), "orders.created")
	flow("two", heard(second))
	flow("two, and the first one still", heard(first))
	// The replica leaves: its key stays until its record ends, but a revoked one is out.
	must(t, f.authority.Revoke(replica.id))
	flow("the revoked one is out", func() bool { return refused.of(sealed.ReasonNotRecipient) > 0 })
	flow("and the first one is not", heard(first))

	crm := f.add("crm")
	in := newInbox(t)
	third := rule(sealed.Subscribers("crm"))
	_, err := crm.join(open(s.Addr()), third).Subscribe("orders.created", in.handle)
	must(t, err)
	must(t, shop.Init(third))
	flow("a new service", heard(in))
	must(t, shop.Init(rule()))
	const out = "and out again"
	flow(out, heard(first))
	in.mu.Lock()
	defer in.mu.Unlock()
	for body := range in.got {
		if strings.HasPrefix(body, out) {
			t.Errorf("who was taken out of the rule has read %q", body)
		}
	}
}

// TestKeysRotateUnderLoad: publisher and subscribers get new certificates and box keys,
// from their files, while messages flow; none is lost, and none handled twice.
func TestKeysRotateUnderLoad(t *testing.T) {
	f := newFleet(t)
	dirs := make(map[string]string)
	for _, who := range []string{"shop", "billing", "shipping"} {
		dirs[who] = t.TempDir() + "/" + who
		must(t, f.issue(who).Save(dirs[who]))
		id, err := identity.Load(dirs[who], identity.RereadEvery(20*time.Millisecond), identity.Logger(slog.New(slog.DiscardHandler)))
		must(t, err)
		t.Cleanup(func() { _ = id.Close() })
		f.addAs(who, id)
	}
	s := natstest.Start(t, natstest.JetStream())
	js := func() broker.Broker { return open(s.Addr(), nats.JetStream("ORDERS", stream, quick)) }
	var refused rejections
	shop := f.join("shop", js())
	billing := subscribe(t, f.join("billing", js(), refused.option()), "orders.created", broker.Queue("billing"))
	shipping := subscribe(t, f.join("shipping", js(), refused.option()), "orders.created", broker.Queue("shipping"))
	publish(t, shop, "orders.created", "first")

	stop := make(chan struct{})
	var published atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := shop.Publish("orders.created", &broker.Message{Body: fmt.Appendf(nil, "order %d", published.Add(1))}); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		for who, dir := range dirs {
			was := f.members[who].id.Generation()
			next, err := f.authority.Issue(who)
			must(t, err)
			must(t, next.Save(dir))
			key := next.BoxKeys()[0]
			must(t, next.Close())
			eventually(t, "the new key of "+who+" is in force", func() bool {
				return f.members[who].id.Generation() != was && f.members[who].id.BoxKeys()[0].Equal(key)
			})
			mark := published.Load()
			eventually(t, "messages flow", func() bool { return published.Load() > mark+100 })
		}
	}
	close(stop)
	wg.Wait()
	total := int(published.Load()) + 1
	for name, in := range map[string]*inbox{"billing": billing, "shipping": shipping} {
		in.until("all arrive", func() bool { _, different := in.count(); return different == total })
		if all, different := in.count(); all != different {
			t.Errorf("%s handled %d messages %d times", name, different, all)
		}
	}
	if n := sealed.StatsOf(shop).EpochsMade; n < 4 {
		t.Errorf("%d epochs for nine changes of keys", n)
	}
	if n := refused.of(sealed.ReasonTampered) + refused.of(sealed.ReasonPublisher); n > 0 {
		t.Errorf("%d messages were refused: %+v", n, refused.all)
	}
}

// TestHistory: a durable stream is read anew from its beginning, as often as one likes,
// where both the backend and the wrapper are told so.
func TestHistory(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t, natstest.JetStream())
	js := func() broker.Broker { return open(s.Addr(), nats.JetStream("ORDERS", stream, quick)) }
	shop, billing := f.join("shop", js()), f.join("billing", js())
	live := subscribe(t, billing, "orders.created")
	for i := range 10 {
		publish(t, shop, "orders.created", fmt.Sprint(i))
	}
	for range 2 {
		again := subscribe(t, billing, "orders.created", sealed.History(), nats.History())
		again.until("all of the stream", func() bool { _, different := again.count(); return different == 10 })
	}
	live.until("all of it once", func() bool { all, _ := live.count(); return all == 10 })
}

// TestPostQuantum: post-quantum keys are found in the registry, and where they are
// required nothing else is read.
func TestPostQuantum(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	s := natstest.Start(t)
	quantum := rule(sealed.RequirePostQuantum())
	modern, classic := f.join("shop", open(s.Addr()), quantum), f.join("shop", open(s.Addr()))
	var refused rejections
	in := subscribe(t, f.join("billing", open(s.Addr()), quantum, refused.option()), "orders.created")
	publish(t, classic, "orders.created", "for a quantum computer to read")
	publish(t, modern, "orders.created", "not for one")
	in.want("not for one")
	eventually(t, "the classic one is refused", func() bool { return refused.of(sealed.ReasonSuite) == 1 })
	if all, _ := in.count(); all != 1 {
		t.Errorf("%d messages were handled", all)
	}
}
