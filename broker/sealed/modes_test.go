package sealed_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/store"
)

// TestModes: whatever the rule, what was published arrives.
func TestModes(t *testing.T) {
	for name, rule := range map[string][]sealed.TopicRule{
		"tags":       nil,
		"pairwise":   {}, // see below
		"signatures": {sealed.Signatures()},
		"padded":     {sealed.Pad(512)},
		"clear":      {sealed.ClearHeaders("Trace", "Absent", "Binary")},
		"all":        {sealed.Signatures(), sealed.Pad(512), sealed.ClearHeaders("Trace")},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, "shop", "billing", "shipping")
			w := newWire()
			option := orders(rule...)
			if name == "pairwise" {
				option = sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing"))
			}
			shop, billing := f.join("shop", w, option), f.join("billing", w, option)
			in := subscribe(t, billing, "orders.created")
			header := map[string]string{
				"Micro-Topic": "orders.created", "Trace": "span 1", "Binary": "\xff\xfe", "CRLF": "a\r\nb: c", "UTF-8": "grüße", "Empty": "", " odd key ": "\x00",
			}
			for _, body := range []string{"", "x", strings.Repeat("y", 1<<20)} {
				if err := shop.Publish("orders.created", &broker.Message{Header: header, Body: []byte(body)}); err != nil {
					t.Fatal(err)
				}
				if m := in.last(t).Message(); string(m.Body) != body || !maps.Equal(m.Header, header) {
					t.Errorf("of %d bytes got %d, and %q", len(body), len(m.Body), m.Header)
				}
			}
			want := map[string]string{}
			if slices.Contains([]string{"clear", "all"}, name) {
				want["Trace"] = "span 1"
			}
			if got := w.last(t).message.Header; !maps.Equal(got, want) {
				t.Errorf("in clear: %q", got)
			}
		})
	}
}

// TestPad: sizes tell nothing below the multiple.
func TestPad(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop := f.join("shop", w, orders(sealed.Pad(1024)))
	sizes := make(map[int]bool)
	for i := range 800 {
		publish(t, shop, "orders.created", strings.Repeat("x", i))
		sizes[len(w.last(t).message.Body)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("%d sizes", len(sizes))
	}
}

// TestOmitCard: without the card the key has to be known already, and the message is
// smaller by it.
func TestOmitCard(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	stranger := f.issue("crm") // who knows nobody's card
	w := newWire()
	rule := sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing", "crm"))
	full, short := f.join("shop", w, rule), f.join("shop", w, rule, sealed.OmitCard())
	if card, err := stranger.Card(); err != nil || f.members["shop"].AddCard(card) != nil {
		t.Fatal(err)
	}
	var refused rejections
	known, unknown := subscribe(t, f.join("billing", w, rule), "orders.created"), subscribe(t, f.join("crm", w, rule, refused.option()), "orders.created")
	publish(t, full, "orders.created", "with")
	with := len(w.last(t).message.Body)
	publish(t, short, "orders.created", "without")
	if without := len(w.last(t).message.Body); with-without < 500 {
		t.Errorf("%d bytes with the card, %d without", with, without)
	}
	if got := known.bodies(); !slices.Equal(got, []string{"with", "without"}) {
		t.Errorf("who knows the key got %q", got)
	}
	if got := unknown.bodies(); !slices.Equal(got, []string{"with"}) {
		t.Errorf("who does not got %q", got)
	}
	if all := refused.take(); len(all) != 1 || all[0].Reason != sealed.ReasonPublisher {
		t.Errorf("refused: %+v", all)
	}
	if peer, ok := sealed.Sender(known.last(t)); !ok || !peer.Serves("shop") {
		t.Errorf("from %v", peer)
	}
}

// TestRotation: an epoch ends with its time, in the middle of a stream, and messages of
// both arrive in whatever order.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing", "shipping")
		w := newWire()
		shop, billing := f.join("shop", w, orders(), sealed.RotateEvery(time.Minute)), f.join("billing", w, orders())
		w.on = func(packet) []packet { return nil }
		for _, body := range []string{"a", "b", "c", "d"} {
			publish(t, shop, "orders.created", body)
			time.Sleep(31 * time.Second)
		}
		if n := sealed.StatsOf(shop).EpochsMade; n != 2 {
			t.Errorf("%d epochs in two minutes", n)
		}
		in := subscribe(t, billing, "orders.created")
		sent := w.sent()
		for _, i := range []int{3, 0, 2, 1, 0, 3} {
			w.deliver(sent[i])
		}
		if got := strings.Join(in.bodies(), ""); got != "dacb" {
			t.Errorf("got %q", got)
		}
	})
}

// TestRotationByDefault is once in DefaultRotateEvery.
func TestRotationByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing", "shipping")
		shop := f.join("shop", newWire(), orders())
		publish(t, shop, "orders.created", "a")
		time.Sleep(sealed.DefaultRotateEvery - time.Minute)
		publish(t, shop, "orders.created", "b")
		if n := sealed.StatsOf(shop).EpochsMade; n != 1 {
			t.Errorf("%d epochs within an hour", n)
		}
		time.Sleep(2 * time.Minute)
		publish(t, shop, "orders.created", "c")
		if n := sealed.StatsOf(shop).EpochsMade; n != 2 {
			t.Errorf("%d epochs in more than an hour", n)
		}
	})
}

// TestMaxAge: what is too old is refused, by the time that was sealed, but for History.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing", "shipping")
		w := newWire()
		var refused rejections
		shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders(), sealed.MaxAge(time.Hour), refused.option())
		w.on = func(packet) []packet { return nil }
		publish(t, shop, "orders.created", "a")
		in, history := subscribe(t, billing, "orders.created"), subscribe(t, billing, "orders.created", sealed.History())
		time.Sleep(time.Hour)
		w.deliver(w.last(t))
		time.Sleep(time.Second)
		second := subscribe(t, billing, "orders.created") // which has not handled it
		for range 2 {
			w.deliver(w.last(t))
		}
		if got := in.bodies(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %q", got)
		}
		if got := second.bodies(); len(got) != 0 {
			t.Errorf("after an hour: %q", got)
		}
		if got := history.bodies(); len(got) != 3 {
			t.Errorf("of history: %q", got)
		}
		for _, j := range refused.take() {
			if j.Reason != sealed.ReasonExpired {
				t.Errorf("refused: %+v", j)
			}
		}
	})
}

// TestOldCertificate: a message that waited longer than its sender's certificate lasted
// is judged by the certificate of then; but what was sealed after its end is refused.
func TestOldCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "billing", "shipping")
		f.issue("shop", identity.ValidFor(time.Hour))
		f.introduce()
		w := newWire()
		var refused rejections
		shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders(), refused.option())
		in := subscribe(t, billing, "orders.created")
		publish(t, shop, "orders.created", "delivered at once")
		w.on = func(packet) []packet { return nil }
		publish(t, shop, "orders.created", "delayed")
		time.Sleep(2 * time.Hour)
		w.deliver(w.last(t))
		restarted := subscribe(t, f.join("billing", w, orders()), "orders.created")
		w.deliver(w.last(t))
		if got := in.bodies(); len(got) != 2 {
			t.Errorf("got %q, refused %+v", got, refused.take())
		}
		if got := restarted.bodies(); len(got) != 1 {
			t.Errorf("after a restart got %q", got)
		}
		wantError(t, shop.Publish("orders.created", &broker.Message{}), identity.ErrExpired)
		if err := f.authority.Revoke(f.members["shop"]); err != nil {
			t.Fatal(err)
		}
		late := subscribe(t, billing, "orders.created")
		w.deliver(w.last(t))
		if got := late.bodies(); len(got) != 0 {
			t.Errorf("of a revoked sender: %q", got)
		}
	})
}

// TestReplayStore: members of a queue group that share a store do not handle what
// another has handled; a store that fails has the message come again.
func TestReplayStore(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	shared := &flakyStore{Store: store.NewMemoryStore()}
	w := newWire()
	shop := f.join("shop", w, orders())
	var refused rejections
	member := func() broker.Broker {
		return f.join("billing", w, orders(), sealed.ReplayStore(shared), refused.option())
	}
	one, two := subscribe(t, member(), "orders.created", broker.Queue("q")), newInbox()
	publish(t, shop, "orders.created", "a")
	s, err := member().Subscribe("orders.created", two.handle, broker.Queue("q"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Unsubscribe() }()
	alone := subscribe(t, member(), "orders.created") // of no queue: gets all, once
	for range 2 {
		w.deliver(w.last(t))
	}
	if one, two, alone := len(one.bodies()), len(two.bodies()), len(alone.bodies()); one != 1 || two != 0 || alone != 1 {
		t.Errorf("members handled it %d and %d times, another %d times", one, two, alone)
	}
	for _, j := range refused.take() {
		if j.Reason != sealed.ReasonReplay || j.Again {
			t.Errorf("refused: %+v", j)
		}
	}
	shared.fail(true)
	if err := shop.Publish("orders.created", &broker.Message{Body: []byte("b")}); err == nil {
		t.Error("the broker is not told that the message has to come again")
	}
	if n := len(one.bodies()); n != 1 {
		t.Errorf("without a store, %d messages were handled", n)
	}
	shared.fail(false)
	w.deliver(w.last(t))
	if one, two := len(one.bodies()), len(two.bodies()); one+two != 2 {
		t.Errorf("members handled %d and %d messages of two", one, two)
	}
}

// TestPostQuantum: what the rule seals for a quantum age arrives; who has no such key is
// left out; and where it is required nothing else is accepted.
func TestPostQuantum(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	old := f.issue("shipping")
	if card, err := old.CardWithoutPQ(); err != nil || f.members["shop"].AddCard(card) != nil {
		t.Fatal(err)
	}
	w := newWire()
	var missing [][]string
	option := sealed.OnMissing(func(_ string, ids []string) { missing = append(missing, ids) })
	modern, classic := f.join("shop", w, orders(sealed.PostQuantum()), option), f.join("shop", w, orders())
	var refused rejections
	lenient := subscribe(t, f.join("billing", w, orders(sealed.PostQuantum())), "orders.created")
	strict := subscribe(t, f.join("billing", w, orders(sealed.RequirePostQuantum()), refused.option()), "orders.created")
	publish(t, modern, "orders.created", "modern")
	with := len(w.last(t).message.Body)
	publish(t, classic, "orders.created", "classic")
	if without := len(w.last(t).message.Body); with-without < 1000 || with-without > 1100 {
		t.Errorf("%d bytes for one post-quantum key, %d for two others", with, without)
	}
	if got := lenient.bodies(); !slices.Equal(got, []string{"modern", "classic"}) {
		t.Errorf("got %q", got)
	}
	if got := strict.bodies(); !slices.Equal(got, []string{"modern"}) {
		t.Errorf("where it is required: %q", got)
	}
	if all := refused.take(); len(all) != 1 || all[0].Reason != sealed.ReasonSuite {
		t.Errorf("refused: %+v", all)
	}
	if len(missing) != 1 || !slices.Equal(missing[0], []string{old.ID()}) {
		t.Errorf("missing: %q", missing)
	}
	f.introduce()
	publish(t, modern, "orders.created", "both")
	publishUntil(t, modern, "both", func() bool { return len(missing) == 2 })
}
