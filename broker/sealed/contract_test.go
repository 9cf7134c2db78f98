package sealed_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/codec/json"
	"go-micro.dev/v4/registry"
)

// TestMemory: through go-micro's memory broker, which hands its events over in the
// publisher's goroutine.
func TestMemory(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	for name, inner := range map[string]broker.Broker{
		"plain":      broker.NewMemoryBroker(broker.Logger(quiet)),
		"with codec": broker.NewMemoryBroker(broker.Logger(quiet), broker.Codec(json.Marshaler{})),
	} {
		t.Run(name, func(t *testing.T) {
			shop, billing := f.join("shop", inner, orders()), f.join("billing", inner, orders())
			one, two := subscribe(t, billing, "orders.created"), subscribe(t, billing, "orders.created", broker.Queue("q"))
			for _, body := range []string{"a", "", "c"} {
				publish(t, shop, "orders.created", body)
			}
			for _, in := range []*inbox{one, two} {
				if got := in.bodies(); !slices.Equal(got, []string{"a", "", "c"}) {
					t.Errorf("got %q", got)
				}
			}
			// A handler's error gets to the publisher as it is.
			oops := errors.New("oops")
			one.setFail(oops)
			if err := shop.Publish("orders.created", &broker.Message{Body: []byte("d")}); err != oops {
				t.Errorf("the publisher gets %v", err)
			}
		})
	}
}

// TestHTTP: through go-micro's default broker, which is asynchronous and sends to all
// that the registry has.
func TestHTTP(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	reg := registry.NewMemoryRegistry()
	join := func(who string) broker.Broker {
		return f.join(who, broker.NewBroker(broker.Registry(reg), broker.Logger(quiet)), orders(sealed.ClearHeaders("Trace")))
	}
	shop, billing, shipping := join("shop"), join("billing"), join("shipping")
	inboxes := []*inbox{subscribe(t, billing, "orders.created"), subscribe(t, shipping, "orders.created")}
	header := map[string]string{"Content-Type": "application/json", "X": "gr\u00fc\u00dfe\r\n", "Trace": "1"}
	if err := shop.Publish("orders.created", &broker.Message{Header: header, Body: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	header["Micro-Topic"] = "orders.created" // which the http broker adds
	for _, in := range inboxes {
		in.wait(t, 1)
		m := in.last(t).Message()
		if string(m.Body) != "hello" || !maps.Equal(m.Header, header) {
			t.Errorf("got %q %q", m.Body, m.Header)
		}
	}
	// As http has it, Init is refused while connected, and nothing changes.
	if err := shop.Init(sealed.Topic("late", sealed.Publishers("shop"), sealed.Subscribers("billing"))); err == nil {
		t.Error("Init of the http broker succeeds while connected")
	}
	wantError(t, shop.Publish("late", &broker.Message{}), sealed.ErrNoRule)
}

// TestPassedOn: options go to the inner broker, and what it says of itself is shown.
func TestPassedOn(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	inner, reg, other := broker.NewMemoryBroker(broker.Logger(quiet)), registry.NewMemoryRegistry(), registry.NewMemoryRegistry()
	b := f.join("shop", inner, orders(), broker.Registry(reg), broker.Addrs("x"), broker.Codec(json.Marshaler{}))
	if o := inner.Options(); o.Registry != reg || !slices.Equal(o.Addrs, []string{"x"}) || o.Codec == nil {
		t.Errorf("the inner broker has %+v", o)
	}
	if err := b.Init(broker.Registry(other)); err != nil {
		t.Fatal(err)
	}
	if inner.Options().Registry != other || b.Options().Registry != other {
		t.Error("the registry of a later Init is not there")
	}
	if b.String() != "memory" || b.Address() == "" || b.Address() != inner.Address() {
		t.Errorf("it is %s at %s", b, b.Address())
	}
}

// TestErrorHandler: whoever set it, it sees what was opened, and Options shows it.
func TestErrorHandler(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	oops := errors.New("oops")
	for _, where := range []string{"outside", "inside", "later"} {
		t.Run(where, func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			option := broker.ErrorHandler(func(e broker.Event) error {
				mu.Lock()
				defer mu.Unlock()
				peer, ok := sealed.Sender(e)
				if e.Error() != oops || !ok || !peer.Serves("shop") {
					t.Errorf("error %v of %v", e.Error(), peer)
				}
				seen = append(seen, string(e.Message().Body))
				return nil
			})
			given := map[string][]broker.Option{where: {option}}
			inner := broker.NewMemoryBroker(append(given["inside"], broker.Logger(quiet))...)
			shop := f.join("shop", inner, orders())
			billing := f.join("billing", inner, append(given["outside"], orders())...)
			if err := billing.Init(given["later"]...); err != nil {
				t.Fatal(err)
			}
			if billing.Options().ErrorHandler == nil {
				t.Error("Options does not show it")
			}
			in := subscribe(t, billing, "orders.created")
			in.setFail(oops)
			publish(t, shop, "orders.created", "hello") // with a handler, memory's publisher gets no error
			if !slices.Equal(seen, []string{"hello"}) {
				t.Errorf("the error handler saw %q", seen)
			}
			// What was never opened is shown to nobody.
			if err := inner.Publish("orders.created", &broker.Message{Body: []byte("clear")}); err != nil {
				t.Fatal(err)
			}
			if len(seen) != 1 || len(in.bodies()) != 1 {
				t.Errorf("a clear message was shown: %q, %q", seen, in.bodies())
			}
		})
	}
}

// TestErrorHandlerShown: Options shows the handler that the user has set, not the one that
// the inner broker got in its place.
func TestErrorHandlerShown(t *testing.T) {
	f := newFleet(t, "shop")
	var seen broker.Event
	b := f.join("shop", newWire(), orders(), broker.ErrorHandler(func(e broker.Event) error { seen = e; return nil }))
	given := &wireEvent{}
	if err := b.Options().ErrorHandler(given); err != nil || seen != given {
		t.Errorf("got %v, %v", err, seen)
	}
}

// TestInitMeanwhile: options change while messages come and go.
func TestInitMeanwhile(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := &stubborn{wire: newWire()} // whose options do not change: memory's have no lock
	shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders())
	in := subscribe(t, billing, "orders.created")
	const n = 100
	var wg sync.WaitGroup
	for _, b := range []broker.Broker{shop, billing} {
		wg.Go(func() {
			for range n {
				if err := b.Init(broker.Logger(quiet), broker.ErrorHandler(func(broker.Event) error { return nil })); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range n {
				_ = b.Options()
			}
		})
	}
	wg.Go(func() {
		for range n {
			w.deliver(packet{"orders.created", &broker.Message{Body: []byte("clear")}})
		}
	})
	for range n {
		publish(t, shop, "orders.created", "good")
	}
	wg.Wait()
	if got := len(in.bodies()); got != n {
		t.Errorf("%d of %d delivered", got, n)
	}
}

// TestUnsubscribed: nothing arrives any more, and the same messages are new to the next.
func TestUnsubscribed(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders())
	first := newInbox()
	s, err := billing.Subscribe("orders.created", first.handle, broker.Queue("q"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Topic() != "orders.created" || s.Options().Queue != "q" {
		t.Errorf("subscribed to %s with %+v", s.Topic(), s.Options())
	}
	publish(t, shop, "orders.created", "a")
	w.deliver(w.last(t))
	for range 2 {
		if err := s.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	second := subscribe(t, billing, "orders.created")
	w.deliver(w.last(t))
	if !slices.Equal(first.bodies(), []string{"a"}) || !slices.Equal(second.bodies(), []string{"a"}) {
		t.Errorf("got %q and %q", first.bodies(), second.bodies())
	}
}
