package sealed_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// TestForgotten: a message is remembered for as long as it can come again.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, sealed.MaxAge(time.Hour))
		p := s.sent(t, "orders.created", "x")
		s.delivers(t, p, "x")
		for range 3 {
			time.Sleep(20*time.Minute - time.Second)
			s.refuses(t, p, false, replayed)
			s.good(t)
		}
		for range 5 {
			time.Sleep(time.Hour)
			s.refuses(t, p, false, expired)
			s.good(t)
		}
	})
}

// TestRefusedIsNoError: a user's ErrorHandler is for errors of handlers. It is not shown
// what was refused.
func TestRefusedIsNoError(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	inner, told := broker.NewMemoryBroker(broker.Logger(quiet)), new(rejections)
	var shown []broker.Event
	billing := f.join("billing", inner, orders(), told.option(), broker.ErrorHandler(func(e broker.Event) error {
		shown = append(shown, e)
		return nil
	}))
	in := subscribe(t, billing, "orders.created", broker.Queue("q")) // another member may know what is not known here
	w := newWire()
	publish(t, f.join("shop", w, orders()), "orders.created", "x")
	p := w.last(t)
	unknown := dissect(t, p.message.Body)
	unknown.header, unknown.grants, unknown.flags = nil, nil, 0
	for _, m := range []*broker.Message{unknown.on("", nil).message, {Body: []byte("junk")}} {
		if err := inner.Publish("orders.created", m); err != nil {
			t.Fatal(err)
		}
	}
	if all := told.take(); len(all) != 2 || !all[0].Again || all[1].Again || len(shown) > 0 {
		t.Errorf("rejections %+v; the handler was shown %v", all, shown)
	}
	in.setFail(errors.New("out of stock"))
	if err := inner.Publish("orders.created", p.message); err != nil {
		t.Fatal(err)
	}
	if len(shown) != 1 || string(shown[0].Message().Body) != "x" || shown[0].Error() == nil {
		t.Errorf("the handler was shown %v", shown)
	}
}

// TestEpochStays: recipients are looked at again, and the epoch stays as long as they do.
func TestEpochStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing")
		shop := f.join("shop", newWire(), orders()) // shipping is not there
		for range 20 {
			publish(t, shop, "orders.created", "x")
			time.Sleep(2 * time.Second)
		}
		if got := sealed.StatsOf(shop).EpochsMade; got != 1 {
			t.Errorf("%d epochs", got)
		}
	})
}

// TestMaxAgeRaised: what was handled is remembered for as long as it can come again by
// the options that are in force now.
func TestMaxAgeRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, sealed.MaxAge(time.Hour))
		p := s.sent(t, "orders.created", "x")
		s.delivers(t, p, "x")
		if err := s.billing.Init(sealed.MaxAge(6 * time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(time.Hour)
			s.refuses(t, p, false, replayed)
			s.good(t)
		}
		time.Sleep(2 * time.Hour)
		s.refuses(t, p, false, expired)
	})
}

// TestClocks: publishers' clocks may be wrong by a minute, either way.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		shop := s.members["shop"]
		to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}
		for off, ok := range map[time.Duration]bool{
			59 * time.Second: true, -59 * time.Second: true, 62 * time.Second: false, 0: true,
		} {
			h := headingOf(t, shop, 1)
			h.created, h.notAfter = time.Now().Add(off), time.Now().Add(off+time.Hour)
			n := note{topic: "orders.created", body: "x", time: time.Now().Add(off)}
			p := newSecrets(t, h, shop.BoxKeys()[0], to...).seal(t, n).on(n.topic, nil)
			if ok {
				s.delivers(t, p, "x")
			} else {
				s.refuses(t, p, false, expired)
			}
		}
		s.good(t)
	})
}

// TestInTheMiddle: many publish, and what they publish is handled once each, while rules
// are added, identities of others are revoked, and epochs end.
func TestInTheMiddle(t *testing.T) {
	s := newScene(t)
	const goroutines, each = 4, 40
	var handled sync.Map
	sub, err := s.billing.Subscribe("orders.deleted", func(e broker.Event) error {
		if _, twice := handled.LoadOrStore(string(e.Message().Body), true); twice {
			t.Errorf("%s came twice", e.Message().Body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	s.wire.set(func(p packet) []packet { return []packet{p, p.clone()} }) // all of it twice
	done := make(chan struct{})
	var changes, publishers sync.WaitGroup
	changing := func(f func(i int)) {
		changes.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					f(i)
				}
			}
		})
	}
	changing(func(i int) { // one at a time, as brokers of go-micro need it
		more := sealed.Topic(fmt.Sprintf("more%d.*", i%10), sealed.Publishers("shop"), sealed.Subscribers("billing"))
		if err := errors.Join(s.shop.Init(more), s.billing.Init(more)); err != nil {
			t.Error(err)
		}
		subscribers := []string{"billing", "shipping", "crm"}[:1+i%3]
		if err := s.shop.Init(sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers(subscribers...))); err != nil {
			t.Error(err)
		}
	})
	revoke := make(chan struct{}, goroutines*each)
	changing(func(int) {
		select {
		case <-revoke:
		case <-done:
			return
		}
		id, err := s.authority.Issue("passing")
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.authority.Revoke(id); err != nil {
			t.Error(err)
		}
		id.Close()
	})
	for g := range goroutines {
		publishers.Go(func() {
			for i := range each {
				if i%10 == 0 {
					revoke <- struct{}{}
				}
				if err := s.shop.Publish("orders.deleted", &broker.Message{Body: fmt.Append(nil, g, " ", i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	close(done)
	changes.Wait()
	for g := range goroutines {
		for i := range each {
			if _, ok := handled.Load(fmt.Sprint(g, " ", i)); !ok {
				t.Errorf("%d %d is lost", g, i)
			}
		}
	}
	for _, j := range s.refused.take() {
		if j.Reason != replayed {
			t.Errorf("refused: %+v", j)
		}
	}
	s.wire.set(nil)
	s.good(t)
}
