package sealed_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/e2e/internal/natsmitm"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"go-micro.dev/v4/broker"
)

// TestHostileBroker: a broker that reads, alters, replays, reorders, drops and
// cross-delivers all that passes learns nothing, and can do no more than lose or delay.
func TestHostileBroker(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	server := natstest.Start(t)
	mitm := natsmitm.New(t, server.Addr())
	var refused rejections
	open := func() broker.Broker { return nats.NewBroker(broker.Addrs(mitm.Addr()), broker.Logger(quiet)) }
	// One recipient: each bit of a message is then its own. (A bit of another's grant or tag
	// denies the message to that one.)
	clear := sealed.Topic("orders.>", sealed.Publishers("shop"), sealed.Subscribers("billing"), sealed.ClearHeaders("Trace"))
	shop, billing := f.join("shop", open(), clear), f.join("billing", open(), clear, refused.option())
	created, deleted := subscribe(t, billing, "orders.created"), subscribe(t, billing, "orders.deleted")

	n := 0
	// good shows that the subscriptions still deliver, and that nothing else was.
	good := func(t *testing.T) {
		t.Helper()
		n++
		for topic, in := range map[string]*inbox{"orders.created": created, "orders.deleted": deleted} {
			body := fmt.Sprintf("a good message %d on %s", n, topic)
			publish(t, shop, topic, body)
			in.want(body)
		}
	}
	secret := []byte("the launch code is 0000")
	one := func(t *testing.T) natsmitm.Message {
		t.Helper()
		var mu sync.Mutex
		var kept natsmitm.Message
		mitm.On(func(m natsmitm.Message) []natsmitm.Message {
			mu.Lock()
			defer mu.Unlock()
			kept = m
			return nil
		})
		must(t, shop.Publish("orders.created", &broker.Message{Header: map[string]string{"Trace": "visible", "X-Secret": string(secret)}, Body: secret}))
		eventually(t, "the operator gets a message", func() bool { mu.Lock(); defer mu.Unlock(); return kept.Payload != nil })
		mitm.On(nil)
		return kept
	}
	good(t)

	t.Run("reads", func(t *testing.T) {
		mitm.On(nil)
		must(t, shop.Publish("orders.created", &broker.Message{Header: map[string]string{"Trace": "visible", "X-Secret": string(secret)}, Body: secret}))
		created.want(string(secret))
		for _, form := range [][]byte{secret, []byte(base64.StdEncoding.EncodeToString(secret))[:20], []byte("X-Secret")} {
			if mitm.Saw(form) {
				t.Errorf("%q is on the wire", form)
			}
		}
		if !mitm.Saw([]byte("visible")) || !mitm.Saw([]byte("SGNE")) {
			t.Error("the operator did not see what there is to see")
		}
	})
	altered := map[string]func(natsmitm.Message) []natsmitm.Message{
		"alters a bit": func(m natsmitm.Message) []natsmitm.Message {
			var all []natsmitm.Message
			for i := 0; i < len(m.Payload); i += 7 {
				c := m.Clone()
				c.Payload[i] ^= 1 << (i % 8)
				all = append(all, c)
			}
			return all
		},
		"truncates": func(m natsmitm.Message) []natsmitm.Message {
			m.Payload = m.Payload[:len(m.Payload)-1]
			return []natsmitm.Message{m}
		},
		"extends": func(m natsmitm.Message) []natsmitm.Message {
			m.Payload = append(m.Payload, 0)
			return []natsmitm.Message{m}
		},
		"empties": func(m natsmitm.Message) []natsmitm.Message { m.Payload = []byte{}; return []natsmitm.Message{m} },
		"cross-delivers": func(m natsmitm.Message) []natsmitm.Message {
			m.Subject = "orders.deleted"
			return []natsmitm.Message{m}
		},
		"changes a clear header": func(m natsmitm.Message) []natsmitm.Message {
			m.Header = bytes.Replace(m.Header, []byte("visible"), []byte("changed"), 1)
			return []natsmitm.Message{m}
		},
		"removes the clear headers": func(m natsmitm.Message) []natsmitm.Message { m.Header = nil; return []natsmitm.Message{m} },
		"adds a Micro-Topic": func(m natsmitm.Message) []natsmitm.Message {
			m.Header = bytes.Replace(m.Header, []byte("NATS/1.0\r\n"), []byte("NATS/1.0\r\nMicro-Topic: orders.deleted\r\n"), 1)
			return []natsmitm.Message{m}
		},
		"adds a Content-Type": func(m natsmitm.Message) []natsmitm.Message {
			m.Header = bytes.Replace(m.Header, []byte("NATS/1.0\r\n"), []byte("NATS/1.0\r\nContent-Type: text/html\r\n"), 1)
			return []natsmitm.Message{m}
		},
		"answers in clear": func(m natsmitm.Message) []natsmitm.Message {
			m.Payload = []byte("the order, as the operator would have it")
			return []natsmitm.Message{m}
		},
		"writes malformed headers": func(m natsmitm.Message) []natsmitm.Message {
			m.Header = []byte("NATS/1.0\r\nSignet-Headers: \xff\xff\xff\r\n\r\n")
			return []natsmitm.Message{m}
		},
	}
	for name, change := range altered {
		t.Run(name, func(t *testing.T) {
			m := one(t)
			before, _ := created.count()
			elsewhere, _ := deleted.count()
			for _, bad := range change(m.Clone()) {
				if mitm.Inject(bad) == 0 {
					t.Fatal("nobody got it")
				}
			}
			good(t)
			if all, _ := created.count(); all != before+1 {
				t.Errorf("%d messages were handled: %q", all-before, created.order[before:])
			}
			if all, _ := deleted.count(); all != elsewhere+1 {
				t.Errorf("%d messages were handled on the other topic", all-elsewhere)
			}
		})
	}
	t.Run("replays", func(t *testing.T) {
		m := one(t)
		before := created.times(string(secret))
		for range 5 {
			mitm.Inject(m)
		}
		good(t)
		for range 5 {
			mitm.Inject(m)
		}
		good(t)
		if times := created.times(string(secret)) - before; times != 1 {
			t.Errorf("handled %d times", times)
		}
		if refused.of(sealed.ReasonReplay) < 9 {
			t.Errorf("%d replays were reported", refused.of(sealed.ReasonReplay))
		}
	})
	t.Run("drops and reorders", func(t *testing.T) {
		var mu sync.Mutex
		var held []natsmitm.Message
		mitm.On(func(m natsmitm.Message) []natsmitm.Message {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, m)
			return nil
		})
		const messages = 100
		for i := range messages {
			publish(t, shop, "orders.created", fmt.Sprintf("held %d", i))
		}
		eventually(t, "the operator holds all", func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == messages })
		mitm.On(nil)
		slices.Reverse(held)
		for i, m := range held {
			if i%10 != 0 {
				mitm.Inject(m)
			}
		}
		good(t)
		for i := range messages {
			want := 1
			if (messages-1-i)%10 == 0 {
				want = 0
			}
			if got := created.times(fmt.Sprintf("held %d", i)); got != want {
				t.Errorf("message %d was handled %d times", i, got)
			}
		}
	})
}
