package nats_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

// TestDisconnectHandlesWhatWasReceived counts what a slow handler has done when
// Disconnect returns, and that what it published was sent.
func TestDisconnectHandlesWhatWasReceived(t *testing.T) {
	for name, opts := range map[string][]broker.Option{"core": nil, "stream": {stream()}} {
		for _, unsubscribe := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/unsubscribed=%v", name, unsubscribe), func(t *testing.T) {
				s := natstest.Start(t, natstest.JetStream())
				a, b := connect(t, s.Addr(), opts...), connect(t, s.Addr(), opts...)
				answers := subscribe(t, a, "s.answer")
				const n = 100
				var handled atomic.Int64
				sub := subscribeWith(t, b, "s.a", func(e broker.Event) error {
					time.Sleep(2 * time.Millisecond) // it has work to do
					handled.Add(1)
					return b.Publish("s.answer", e.Message())
				}, broker.Queue("q"))
				last := subscribe(t, b, "s.last")
				for i := range n {
					publish(t, a, "s.a", fmt.Sprint(i))
				}
				if len(opts) > 0 { // its consumers are served side by side
					js := inspect(t, s)
					eventually(t, "all is on the way", func() bool {
						return !slices.ContainsFunc(consumers(t, js), func(c *jetstream.ConsumerInfo) bool { return c.NumPending > 0 })
					})
				}
				publish(t, a, "s.last", "x")
				last.next() // what was sent before has come too
				if unsubscribe {
					if err := sub.Unsubscribe(); err != nil {
						t.Error(err)
					}
				}
				within(t, long, "Disconnect", func() {
					if err := b.Disconnect(); err != nil {
						t.Error(err)
					}
				})
				if got := handled.Load(); got != n {
					t.Errorf("%d of %d handled", got, n)
				}
				for i := range n {
					answers.want(fmt.Sprint(i))
				}
				if err := b.Disconnect(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestDisconnectIsBounded has a handler that does not return in time.
func TestDisconnectIsBounded(t *testing.T) {
	for name, opts := range map[string][]broker.Option{"core": nil, "stream": {stream()}} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, natstest.JetStream())
			b := connect(t, s.Addr(), append(opts, nats.DrainTimeout(200*time.Millisecond))...)
			began, release := make(chan struct{}, 10), make(chan struct{})
			subscribeWith(t, b, "s.a", func(broker.Event) error { began <- struct{}{}; <-release; return nil })
			publish(t, b, "s.a", "1")
			publish(t, b, "s.a", "2")
			<-began
			within(t, 10*time.Second, "Disconnect", func() {
				if err := b.Disconnect(); !errors.Is(err, nats.ErrDrain) {
					t.Errorf("got %v", err)
				}
			})
			close(release)
		})
	}
}

// TestDisconnectWhileDown does not wait for a server that does not answer.
func TestDisconnectWhileDown(t *testing.T) {
	s := natstest.Start(t)
	for name, cut := range map[string]func(){"refused": s.Proxy.Refuse, "silent": s.Proxy.Blackhole} {
		t.Run(name, func(t *testing.T) {
			s.Proxy.Pass()
			b := connect(t, s.Addr(), nats.DrainTimeout(time.Second))
			subscribe(t, b, "topic")
			cut()
			within(t, 10*time.Second, "Disconnect", func() { _ = b.Disconnect() })
		})
	}
}

func TestConnectAgain(t *testing.T) {
	for name, opts := range map[string][]broker.Option{"core": nil, "stream": {stream()}} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, natstest.JetStream())
			b := connect(t, s.Addr(), opts...)
			got, queued := subscribe(t, b, "s.a"), subscribe(t, b, "s.a", broker.Queue("q"))
			ended := newInbox(t)
			sub := subscribeWith(t, b, "s.a", ended.handle)
			for i := range 3 {
				if err := b.Disconnect(); err != nil {
					t.Fatal(err)
				}
				if err := b.Publish("s.a", &broker.Message{}); !errors.Is(err, nats.ErrNotConnected) {
					t.Errorf("Publish: got %v", err)
				}
				if _, err := b.Subscribe("s.a", ended.handle); !errors.Is(err, nats.ErrNotConnected) {
					t.Errorf("Subscribe: got %v", err)
				}
				if err := sub.Unsubscribe(); err != nil { // the second time it is done
					t.Error(err)
				}
				if err := b.Connect(); err != nil {
					t.Fatal(err)
				}
				publish(t, b, "s.a", fmt.Sprint(i))
				got.want(fmt.Sprint(i))
				queued.want(fmt.Sprint(i))
			}
			ended.empty()
			got.empty()
		})
	}
}

// TestInsideHandlers does there whatever a handler may do.
func TestInsideHandlers(t *testing.T) {
	for name, opts := range map[string][]broker.Option{"core": nil, "stream": {stream()}} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, natstest.JetStream())
			connected := func(t *testing.T) broker.Broker { return connect(t, s.Addr(), opts...) }
			for _, tt := range []struct {
				name string
				do   func(b broker.Broker, self broker.Subscriber) error
			}{
				{"publish", func(b broker.Broker, _ broker.Subscriber) error { return b.Publish("s.other", &broker.Message{}) }},
				{"subscribe", func(b broker.Broker, _ broker.Subscriber) error {
					_, err := b.Subscribe("s.other", func(broker.Event) error { return nil })
					return err
				}},
				{"unsubscribe", func(_ broker.Broker, self broker.Subscriber) error { return self.Unsubscribe() }},
				{"disconnect", func(b broker.Broker, _ broker.Subscriber) error { return b.Disconnect() }},
				{"disconnect and connect", func(b broker.Broker, _ broker.Subscriber) error { return errors.Join(b.Disconnect(), b.Connect()) }},
				{"init", func(b broker.Broker, _ broker.Subscriber) error { return b.Init() }},
			} {
				t.Run(tt.name, func(t *testing.T) {
					b := connected(t)
					self := make(chan broker.Subscriber, 1)
					done := make(chan error, 10)
					self <- subscribeWith(t, b, "s.a", func(broker.Event) error {
						done <- tt.do(b, <-self)
						return nil
					})
					publish(t, b, "s.a", "x")
					select {
					case err := <-done:
						if err != nil {
							t.Error(err)
						}
					case <-time.After(5 * time.Second): // half of the drain timeout
						t.Error("it hangs")
					}
				})
			}
		})
	}
}

// TestPanics does not end the subscription, nor others.
func TestPanics(t *testing.T) {
	s := natstest.Start(t)
	handled := make(chan broker.Event, 10)
	b := connect(t, s.Addr(), broker.ErrorHandler(func(e broker.Event) error { handled <- e; panic("again") }))
	got := newInbox(t)
	subscribeWith(t, b, "topic", func(e broker.Event) error {
		if string(e.Message().Body) == "bad" {
			panic("oops")
		}
		return got.handle(e)
	})
	publish(t, b, "topic", "bad")
	publish(t, b, "topic", "good")
	got.want("good")
	if e := <-handled; !errors.Is(e.Error(), nats.ErrPanic) || string(e.Message().Body) != "bad" {
		t.Errorf("the ErrorHandler got %v", e.Error())
	}
	if n := stats(b); n.Panicked != 1 || n.Failed != 0 {
		t.Errorf("got %+v", n)
	}
}

// TestHandlerErrors are given to the ErrorHandler, with the message.
func TestHandlerErrors(t *testing.T) {
	s := natstest.Start(t)
	handled := make(chan broker.Event, 10)
	b := connect(t, s.Addr(), broker.ErrorHandler(func(e broker.Event) error { handled <- e; return nil }))
	failure := errors.New("not now")
	subscribeWith(t, b, "topic", func(broker.Event) error { return failure })
	publish(t, b, "topic", "x")
	if e := <-handled; !errors.Is(e.Error(), failure) || string(e.Message().Body) != "x" || e.Topic() != "topic" || e.Ack() != nil {
		t.Errorf("got %v", e.Error())
	}
}

// TestSubscribedBeforePublished publishes from elsewhere as soon as Subscribe returns.
func TestSubscribedBeforePublished(t *testing.T) {
	s := natstest.Start(t)
	a, b := connect(t, s.Addr()), connect(t, s.Addr())
	for i := range 200 {
		topic := fmt.Sprint("topic.", i)
		got := newInbox(t)
		sub := subscribeWith(t, b, topic, got.handle)
		publish(t, a, topic, "x")
		got.want("x")
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}
