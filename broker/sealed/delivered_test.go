package sealed_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

// TestDelivered: what has to arrive although something went wrong, and how often.
func TestDelivered(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *scene)
	}{
		{"handler error then redelivery", failedTwice},
		{"handler panic then redelivery", panicked},
		{"concurrent duplicate", concurrentDuplicate},
		{"two local subscriptions", twoSubscriptions},
		{"rotation mid-stream", rotation},
		{"out of order across epochs", outOfOrder},
		{"retired box key within grace", retiredKey},
		{"publisher's caller mutating its map afterwards", callerMutates},
		{"handler mutating what it got", handlerMutates},
		{"CR/LF and UTF-8 in headers", oddHeaders},
		{"empty body", emptyBody},
		{"publish inside a handler", publishInside},
		{"unsubscribe inside a handler", unsubscribeInside},
		{"acknowledged by hand", byHand},
		{"history", history},
		{"a hook that panics or comes back", hooks},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.good(t)
			c.run(t, s)
			s.good(t)
		})
	}
}

func failedTwice(t *testing.T, s *scene) {
	failure := errors.New("out of stock")
	p := s.sent(t, "orders.created", "x")
	s.in.setFail(failure)
	for range 2 {
		if got := s.wire.deliver(p); len(got) != 1 || got[0] != (outcome{err: failure}) {
			t.Fatalf("settled with %+v", got)
		}
	}
	s.in.setFail(nil)
	s.delivers(t, p, "x")
	s.refuses(t, p, false, replayed)
	if got := s.in.bodies(); len(got) != 4 {
		t.Errorf("got %q", got)
	}
	if got := sealed.StatsOf(s.billing); got.Failed != 2 || got.Delivered != 2 {
		t.Errorf("counts are %+v", got)
	}
}

func panicked(t *testing.T, s *scene) {
	p := s.sent(t, "orders.deleted", "x")
	calls := 0
	sub, err := s.billing.Subscribe("orders.deleted", func(broker.Event) error {
		if calls++; calls == 1 {
			panic("a bug")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	func() {
		defer func() {
			if p := recover(); p != "a bug" {
				t.Errorf("the panic became %v", p)
			}
		}()
		s.wire.deliver(p)
	}()
	for range 2 {
		if got := s.wire.deliver(p); len(got) != 1 || got[0].err != nil {
			t.Fatalf("settled with %+v", got)
		}
	}
	if calls != 2 {
		t.Errorf("the handler was called %d times", calls)
	}
}

func concurrentDuplicate(t *testing.T, s *scene) {
	p := s.sent(t, "orders.deleted", "x")
	for _, failure := range []error{errors.New("no"), nil} { // first it fails, and comes again
		begun, end := make(chan struct{}), make(chan error)
		sub, err := s.billing.Subscribe("orders.deleted", func(broker.Event) error {
			begun <- struct{}{}
			return <-end
		})
		if err != nil {
			t.Fatal(err)
		}
		outcomes := make(chan outcome, 1)
		go func() { outcomes <- s.wire.deliver(p)[0] }()
		<-begun
		s.refuses(t, p, true, replayed) // it is not lost: it comes again
		end <- failure
		if got := <-outcomes; got != (outcome{err: failure}) {
			t.Errorf("settled with %+v", got)
		}
		if failure == nil {
			s.refuses(t, p, false, replayed)
		} else {
			go func() { outcomes <- s.wire.deliver(p)[0] }()
			<-begun
			end <- nil
			if got := <-outcomes; got != (outcome{}) {
				t.Errorf("settled with %+v", got)
			}
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}

func twoSubscriptions(t *testing.T, s *scene) {
	second := subscribe(t, s.billing, "orders.created")
	p := s.sent(t, "orders.created", "x")
	if got := s.wire.deliver(p); !slices.Equal(got, []outcome{{}, {}}) {
		t.Errorf("settled with %+v", got)
	}
	s.refuses(t, p, false, replayed)
	if a, b := s.in.bodies(), second.bodies(); a[len(a)-1] != "x" || !slices.Equal(b, []string{"x"}) {
		t.Errorf("got %q and %q", a, b)
	}
}

func rotation(t *testing.T, s *scene) {
	before := sealed.StatsOf(s.shop).EpochsMade
	for i := range 5 {
		publish(t, s.shop, "orders.created", fmt.Sprint(i))
		if err := s.shop.Init(sealed.RotateEvery(time.Hour)); err != nil { // ends the epoch
			t.Fatal(err)
		}
	}
	if got := s.in.bodies()[1:]; !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("got %q", got)
	}
	if got := sealed.StatsOf(s.shop).EpochsMade - before; got != 4 {
		t.Errorf("%d epochs", got)
	}
}

func outOfOrder(t *testing.T, s *scene) {
	var all []packet
	for i := range 12 {
		all = append(all, s.sent(t, "orders.created", fmt.Sprint(i)))
		if i%3 == 2 {
			if err := s.shop.Init(sealed.RotateEvery(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, i := range []int{11, 0, 5, 4, 10, 1, 8, 3, 2, 9, 6, 7} {
		s.delivers(t, all[i], fmt.Sprint(i))
	}
	for _, p := range all {
		s.refuses(t, p, false, replayed)
	}
}

func retiredKey(t *testing.T, s *scene) {
	dir := filepath.Join(t.TempDir(), "billing")
	if err := s.members["billing"].Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	s.members["billing"] = id
	s.wire.subs = nil
	s.billing = s.join("billing", s.wire, sceneRules(), s.refused.option())
	s.in = subscribe(t, s.billing, "orders.created")
	known := s.sent(t, "orders.created", "known")
	s.delivers(t, s.sent(t, "orders.created", "x"), "x")
	if err := s.shop.Init(sealed.RotateEvery(time.Hour)); err != nil {
		t.Fatal(err)
	}
	unknown := s.sent(t, "orders.created", "unknown")
	renew(t, s.fleet, "billing", dir)
	s.delivers(t, known, "known")
	s.delivers(t, unknown, "unknown")
}

func callerMutates(t *testing.T, s *scene) {
	m := &broker.Message{Header: map[string]string{"Trace": "a", "X": "b"}, Body: []byte("body")}
	var held packet
	s.wire.set(func(p packet) []packet { held = p; return nil })
	if err := s.shop.Publish("orders.created", m); err != nil {
		t.Fatal(err)
	}
	s.wire.set(nil)
	m.Header["Trace"], m.Header["X"], m.Body[0] = "changed", "changed", 'B'
	clear(m.Header)
	s.delivers(t, held, "body")
	if got := s.in.last(t).Message().Header; !maps.Equal(got, map[string]string{"Trace": "a", "X": "b", "Micro-Topic": "orders.created"}) {
		t.Errorf("headers are %v", got)
	}
}

func handlerMutates(t *testing.T, s *scene) {
	f, inner := s.fleet, broker.NewMemoryBroker(broker.Logger(quiet)) // which hands all the same message
	shop, billing := f.join("shop", inner, orders()), f.join("billing", inner, orders())
	var got []string
	for range 3 {
		sub, err := billing.Subscribe("orders.created", func(e broker.Event) error {
			m := e.Message()
			got = append(got, fmt.Sprintf("%s %v", m.Body, m.Header))
			for i := range m.Body {
				m.Body[i] = 'x'
			}
			m.Body = append(m.Body, "more"...)
			clear(m.Header)
			m.Header["Micro-Topic"] = "invoices.sent"
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
	}
	header := map[string]string{"A": "b"}
	m := &broker.Message{Header: header, Body: []byte("body")}
	if err := shop.Publish("orders.created", m); err != nil {
		t.Fatal(err)
	}
	want := "body map[A:b Micro-Topic:orders.created]"
	if !slices.Equal(got, []string{want, want, want}) {
		t.Errorf("got %q", got)
	}
	if string(m.Body) != "body" || len(header) != 1 {
		t.Errorf("the publisher's message is %v", m)
	}
}

func oddHeaders(t *testing.T, s *scene) {
	header := map[string]string{
		"CRLF": "a\r\nX: y\r\n\r\n", "UTF-8": "grüße 世界", "Binary": "\xff\x00\xfe", "Space": "  a  ", "\r\n": "name", "世界": "name", "Empty": "",
		"Trace": "a\r\nInjected: yes", "Content-Type": "text/plain;\r\n charset=utf-8",
	}
	if err := s.shop.Publish("orders.created", &broker.Message{Header: header, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(header)
	want["Micro-Topic"] = "orders.created"
	if got := s.in.last(t).Message().Header; !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	header["Trace"] = "\xff" // which a text protocol could not carry
	if err := s.shop.Publish("orders.created", &broker.Message{Header: header}); err != nil {
		t.Fatal(err)
	}
	if got := s.in.last(t).Message().Header["Trace"]; got != "\xff" {
		t.Errorf("got %q", got)
	}
	if got := s.wire.last(t).message.Header; len(got) != 0 {
		t.Errorf("in clear: %q", got)
	}
}

func emptyBody(t *testing.T, s *scene) {
	for _, m := range []*broker.Message{{}, {Body: []byte{}}, {Header: map[string]string{"A": ""}}} {
		if err := s.shop.Publish("orders.created", m); err != nil {
			t.Fatal(err)
		}
		got := s.in.last(t).Message()
		if len(got.Body) != 0 || got.Header["Micro-Topic"] != "orders.created" || m.Header["A"] != got.Header["A"] {
			t.Errorf("got %v", got)
		}
	}
	if got := s.in.bodies(); len(got) != 4 {
		t.Errorf("got %q", got)
	}
}

func publishInside(t *testing.T, s *scene) {
	depth := 0
	again := s.join("shop", s.wire, sceneRules())
	sub, err := s.billing.Subscribe("orders.deleted", func(e broker.Event) error {
		if depth++; depth == 10 {
			return nil
		}
		m := e.Message() // with all of its headers
		m.Body = append(m.Body, '+')
		return again.Publish("orders.deleted", m)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	publish(t, s.shop, "orders.deleted", "x", "Trace", "1")
	if depth != 10 {
		t.Errorf("the handler was called %d times", depth)
	}
}

func unsubscribeInside(t *testing.T, s *scene) {
	calls := 0
	var sub broker.Subscriber
	sub, err := s.billing.Subscribe("orders.deleted", func(broker.Event) error {
		calls++
		return sub.Unsubscribe()
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s.shop, "orders.deleted", "x")
	publish(t, s.shop, "orders.deleted", "y")
	if calls != 1 {
		t.Errorf("the handler was called %d times", calls)
	}
}

// byHand: without AutoAck a message has been handled once Ack was called, and its broker
// knows; what is refused for good is acknowledged for the handler, which never sees it.
func byHand(t *testing.T, s *scene) {
	s.wire.noTerm = true
	defer func() { s.wire.noTerm = false }()
	var events []broker.Event
	fail := errors.New("later")
	ack, result := false, error(nil)
	sub, err := s.billing.Subscribe("orders.deleted", func(e broker.Event) error {
		events = append(events, e)
		if ack {
			if err := e.Ack(); err != nil {
				t.Error(err)
			}
		}
		return result
	}, broker.DisableAutoAck())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	p := s.sent(t, "orders.deleted", "x")
	step := func(p packet, want outcome, calls int) {
		t.Helper()
		if got := s.wire.deliver(p); len(got) != 1 || got[0] != want {
			t.Errorf("settled with %+v, want %+v", got, want)
		}
		if len(events) != calls {
			t.Errorf("the handler was called %d times, want %d", len(events), calls)
		}
	}
	step(p, outcome{}, 1) // the handler is done, and has not acknowledged it
	result = fail
	step(p, outcome{err: fail}, 2)
	result, ack = nil, true
	step(p, outcome{acks: 1}, 3)
	step(p, outcome{acks: 1}, 3) // a duplicate, acknowledged for it
	result = fail
	q := s.sent(t, "orders.deleted", "y")
	step(q, outcome{acks: 1, err: fail}, 4) // acknowledged, and then failed: it was handled
	step(q, outcome{acks: 1}, 4)
	ack, result = false, nil
	late := s.sent(t, "orders.deleted", "z")
	step(late, outcome{}, 5)
	if err := events[4].Ack(); err != nil { // by another goroutine, later
		t.Fatal(err)
	}
	step(late, outcome{acks: 1}, 5)
	junk := packet{"orders.deleted", &broker.Message{Body: []byte("junk")}}
	step(junk, outcome{acks: 1}, 5)

	// With AutoAck the broker does that itself.
	s.refused.take()
	junk.topic = "orders.created"
	if got := s.wire.deliver(junk); len(got) != 1 || got[0] != (outcome{}) || len(s.refused.take()) != 1 {
		t.Errorf("with AutoAck: settled with %+v", got)
	}

	// An acknowledgement that the broker refuses is none.
	s.wire.ackErr = errors.New("no connection")
	r := s.sent(t, "orders.deleted", "r")
	step(r, outcome{}, 6)
	if err := events[5].Ack(); !errors.Is(err, s.wire.ackErr) {
		t.Errorf("error is %v", err)
	}
	s.wire.ackErr = nil
	step(r, outcome{}, 7)
}

func history(t *testing.T, s *scene) {
	var got []string
	failure := errors.New("out of stock")
	var result error
	sub, err := s.billing.Subscribe("orders.deleted", func(e broker.Event) error {
		got = append(got, string(e.Message().Body))
		return result
	}, sealed.History())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	p := s.sent(t, "orders.deleted", "x")
	for range 3 {
		s.wire.deliver(p)
	}
	if !slices.Equal(got, []string{"x", "x", "x"}) {
		t.Errorf("got %q", got)
	}
	result = failure
	if got := s.wire.deliver(p); len(got) != 1 || got[0] != (outcome{err: failure}) {
		t.Errorf("settled with %+v", got)
	}
	f := dissect(t, p.message.Body)
	f.ciphertext[0] ^= 1
	s.refuses(t, f.on(p.topic, nil), false, tampered)
}

func hooks(t *testing.T, s *scene) {
	calls := 0
	var sub broker.Subscriber
	hook := sealed.OnReject(func(sealed.Rejection) {
		switch calls++; calls {
		case 1:
			panic("a bug")
		case 2:
			if err := s.billing.Init(sealed.MaxAge(time.Hour)); err != nil {
				t.Error(err)
			}
		case 3:
			publish(t, s.shop, "orders.created", "from the hook")
			s.wire.deliver(packet{"orders.deleted", &broker.Message{Body: []byte("junk")}})
		case 5:
			if err := sub.Unsubscribe(); err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.billing.Init(hook); err != nil {
		t.Fatal(err)
	}
	sub, err := s.billing.Subscribe("orders.deleted", func(broker.Event) error { t.Error("junk"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		s.wire.deliver(packet{"orders.deleted", &broker.Message{Body: []byte("junk")}})
	}
	if calls != 5 {
		t.Errorf("the hook was called %d times", calls)
	}
	if err := s.billing.Init(s.refused.option()); err != nil {
		t.Fatal(err)
	}
	if got := s.in.bodies(); got[len(got)-1] != "from the hook" {
		t.Errorf("got %q", got)
	}
}
