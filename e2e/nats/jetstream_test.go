package nats_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

// stream are the options of a broker whose stream has the subjects "s.>".
func stream(opts ...nats.StreamOption) broker.Option {
	return nats.JetStream("S", append([]nats.StreamOption{
		nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"s.>"}}),
		nats.RetryDelay(10*time.Millisecond, 100*time.Millisecond),
		nats.PublishTimeout(20 * time.Second),
	}, opts...)...)
}

// inspect returns the harness's own view of JetStream.
func inspect(t *testing.T, s *natstest.Server) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Client())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// messages counts what is in the stream.
func messages(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	found, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	return found.CachedInfo().State.Msgs
}

// consumers returns what consumers the stream has.
func consumers(t *testing.T, js jetstream.JetStream) (found []*jetstream.ConsumerInfo) {
	t.Helper()
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	all := s.ListConsumers(t.Context())
	for c := range all.Info() {
		found = append(found, c)
	}
	if all.Err() != nil {
		t.Fatal(all.Err())
	}
	return found
}

// settled waits until every message that was delivered is acknowledged.
func settled(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	eventually(t, "nothing waits for an acknowledgement", func() bool {
		for _, c := range consumers(t, js) {
			if c.NumAckPending > 0 || c.NumPending > 0 {
				return false
			}
		}
		return true
	})
}

func TestStream(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	publish(t, b, "s.a", "before")
	later, all := subscribe(t, b, "s.*"), subscribe(t, b, "s.>", nats.History())
	if err := b.Publish("s.a", &broker.Message{Header: map[string]string{"A": "1", "Odd ": " 2 "}, Body: []byte("after")}); err != nil {
		t.Fatal(err)
	}
	all.want("before")
	for _, got := range []*inbox{later, all} {
		d := got.next()
		if d.body != "after" || d.topic != "s.a" || len(d.header) != 2 || d.header["A"] != "1" || d.header["Odd "] != " 2 " {
			t.Errorf("got %+v", d)
		}
	}
	settled(t, inspect(t, s))
	later.empty()
	all.empty()
}

// permanent is an error that says that another delivery is of no use.
type permanent struct{}

func (permanent) Error() string   { return "never" }
func (permanent) Permanent() bool { return true }

// TestAnswers are what a handler can do with a message.
func TestAnswers(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	js := inspect(t, s)
	for _, tt := range []struct {
		name   string
		handle func(broker.Event) error // of the first delivery
		auto   bool
		again  bool // it is delivered again, and then acknowledged
	}{
		{"nil", func(broker.Event) error { return nil }, true, false},
		{"error", func(broker.Event) error { return errors.New("not now") }, true, true},
		{"panic", func(broker.Event) error { panic("oops") }, true, true},
		{"permanent", func(broker.Event) error { return fmt.Errorf("wrapped: %w", permanent{}) }, true, false},
		{"term", func(e broker.Event) error { return e.(interface{ Term() error }).Term() }, true, false},
		{"term, then an error", func(e broker.Event) error { _ = e.(interface{ Term() error }).Term(); return errors.New("x") }, true, false},
		{"nak", func(e broker.Event) error { return e.(interface{ Nak() error }).Nak() }, true, true},
		{"ack, then an error", func(e broker.Event) error { _ = e.Ack(); return errors.New("x") }, true, false},
		{"ack twice", func(e broker.Event) error { _ = e.Ack(); return e.Ack() }, false, false},
		{"no ack", func(broker.Event) error { return nil }, false, true},
		{"error without AutoAck", func(broker.Event) error { return errors.New("x") }, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := connect(t, s.Addr(), stream(nats.AckWait(300*time.Millisecond)))
			var opts []broker.SubscribeOption
			if !tt.auto {
				opts = append(opts, broker.DisableAutoAck())
			}
			got := newInbox(t)
			first := true
			subscribeWith(t, b, "s.a", func(e broker.Event) error {
				_ = got.handle(e)
				if first {
					first = false
					return tt.handle(e)
				}
				return e.Ack()
			}, append(opts, nats.Durable("d"))...)
			publish(t, b, "s.a", "x")
			got.want("x")
			if tt.again {
				got.want("x")
			}
			settled(t, js)
			publish(t, b, "s.a", "next")
			got.want("next")
			settled(t, js)
			got.empty()
			if err := js.DeleteConsumer(t.Context(), "S", "d"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSlowHandlerIsNotOvertaken takes longer than AckWait, with others behind it.
func TestSlowHandlerIsNotOvertaken(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream(nats.AckWait(300*time.Millisecond)))
	got := newInbox(t)
	release := make(chan struct{})
	subscribeWith(t, b, "s.a", func(e broker.Event) error {
		_ = got.handle(e)
		<-release
		return nil
	}, broker.Queue("q"))
	other := subscribe(t, connect(t, s.Addr(), stream()), "s.a", broker.Queue("other"))
	for i := range 3 {
		publish(t, b, "s.a", fmt.Sprint(i))
	}
	other.want("0", "1", "2")
	time.AfterFunc(time.Second, func() { close(release) })
	got.want("0", "1", "2")
	settled(t, inspect(t, s))
	for _, c := range consumers(t, inspect(t, s)) {
		if c.NumRedelivered != 0 || c.Delivered.Consumer != 3 {
			t.Errorf("%s: %d redelivered, %d delivered", c.Name, c.NumRedelivered, c.Delivered.Consumer)
		}
	}
	got.empty()
}

// TestStatusHeaders is what somebody publishes to end all subscriptions of a stream.
func TestStatusHeaders(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	got := subscribe(t, b, "s.a")
	c := s.Client()
	for _, h := range []natsgo.Header{
		{"Status": {"409"}, "Description": {"Consumer Deleted"}},
		{"Status": {"400"}, "Description": {"Bad Request"}},
		{"Status": {"100"}, "Description": {"Idle Heartbeat"}},
		{"Status": {"503"}}, {"Status": {"408"}, "Nats-Pending-Messages": {"x"}},
	} {
		m := natsgo.NewMsg("s.a")
		m.Header = h
		if _, err := c.RequestMsg(m, long); err != nil {
			t.Fatal(err)
		}
		if d := got.next(); d.body != "" || d.header["Status"] != h.Get("Status") {
			t.Errorf("got %+v", d)
		}
	}
	publish(t, b, "s.a", "good")
	got.want("good")
}

// TestMessageID publishes what is, and is not, the same message.
func TestMessageID(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	js := inspect(t, s)
	for _, tt := range []struct {
		name          string
		first, second broker.Message
		topic         string // of the second
		stored        uint64
	}{
		{"the same sealed message", broker.Message{Body: []byte("SGNE sealed")}, broker.Message{Body: []byte("SGNE sealed")}, "s.a", 1},
		{"another sealed message", broker.Message{Body: []byte("SGNE one")}, broker.Message{Body: []byte("SGNE two")}, "s.a", 2},
		{"a sealed message to another topic", broker.Message{Body: []byte("SGNE three")}, broker.Message{Body: []byte("SGNE three")}, "s.b", 2},
		{"two plain messages that are equal", broker.Message{Body: []byte("x")}, broker.Message{Body: []byte("x")}, "s.a", 2},
		{"a header of that name", broker.Message{Header: map[string]string{"Nats-Msg-Id": "1"}, Body: []byte("x")}, broker.Message{Header: map[string]string{"Nats-Msg-Id": "1"}, Body: []byte("y")}, "s.a", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := messages(t, js)
			if err := b.Publish("s.a", &tt.first); err != nil {
				t.Fatal(err)
			}
			if err := b.Publish(tt.topic, &tt.second); err != nil {
				t.Fatal(err)
			}
			if n := messages(t, js) - before; n != tt.stored {
				t.Errorf("%d stored, want %d", n, tt.stored)
			}
		})
	}
}

// TestMessageIDOfCaller has publishers say which messages are the same.
func TestMessageIDOfCaller(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	js := inspect(t, s)
	before := messages(t, js)
	for _, id := range []string{"1", "1", "2", ""} {
		if err := b.Publish("s.a", &broker.Message{Body: []byte(id)}, broker.PublishContext(t.Context()), nats.MessageID(id)); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, js) - before; n != 3 {
		t.Errorf("%d stored, want 3", n)
	}
	for _, id := range []string{"a\r\nb", strings.Repeat("x", 257)} {
		if err := b.Publish("s.a", &broker.Message{}, nats.MessageID(id)); !errors.Is(err, nats.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestRetriedPublishIsStoredOnce loses the answers of the stream.
func TestRetriedPublishIsStoredOnce(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream(nats.PublishTimeout(3*time.Second)))
	publish(t, b, "s.a", "first")
	js := inspect(t, s)
	var once sync.Once
	s.Proxy.Tap(func(fromClient bool, data []byte) {
		if fromClient && len(data) > 100 {
			// The server gets this, and its answer is held back.
			once.Do(s.Proxy.HoldAnswers)
		}
	})
	done := make(chan error, 1)
	go func() { done <- b.Publish("s.a", &broker.Message{Body: make([]byte, 200)}) }()
	eventually(t, "it is stored", func() bool { return messages(t, js) == 2 })
	time.AfterFunc(1500*time.Millisecond, s.Proxy.Pass) // more than one attempt
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := messages(t, js); n != 2 {
		t.Errorf("%d messages in the stream, want 2", n)
	}
}

// TestDurableAcrossRestart goes on with what was delivered and not acknowledged.
func TestDurableAcrossRestart(t *testing.T) {
	for name, opts := range map[string][]broker.SubscribeOption{
		"queue": {broker.Queue("billing")}, "durable": {nats.Durable("billing")},
	} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, natstest.JetStream())
			b := connect(t, s.Addr(), stream(nats.AckWait(500*time.Millisecond)))
			got := newInbox(t)
			subscribeWith(t, b, "s.a", got.handle, append(opts, broker.DisableAutoAck())...)
			publish(t, b, "s.a", "unacknowledged")
			got.want("unacknowledged")
			if err := b.Disconnect(); err != nil {
				t.Fatal(err)
			}
			publisher := connect(t, s.Addr(), stream())
			publish(t, publisher, "s.a", "meanwhile")
			s.Kill()
			s.Restart(nil)
			again := connect(t, s.Addr(), stream())
			after := subscribe(t, again, "s.a", opts...)
			seen := map[string]bool{after.next().body: true, after.next().body: true}
			if !seen["unacknowledged"] || !seen["meanwhile"] {
				t.Errorf("got %v", seen)
			}
		})
	}
}

func TestInstanceConsumerGoesAway(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	js := inspect(t, s)
	got := newInbox(t)
	sub := subscribeWith(t, b, "s.a", got.handle)
	kept := subscribeWith(t, b, "s.a", got.handle, broker.Queue("q"))
	if n := len(consumers(t, js)); n != 2 {
		t.Fatalf("%d consumers", n)
	}
	for range 2 {
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
		if err := kept.Unsubscribe(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the consumer of one subscription is gone, that of the queue is not", func() bool { return len(consumers(t, js)) == 1 })
}

// TestConsumerIsMadeAgain loses nothing when somebody deletes the consumer.
func TestConsumerIsMadeAgain(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream())
	b := connect(t, s.Addr(), stream())
	js := inspect(t, s)
	var failures atomic.Int64
	got := newInbox(t)
	subscribeWith(t, b, "s.a", func(e broker.Event) error {
		if string(e.Message().Body) == "fails" && failures.Add(1) == 1 {
			// The consumer that would deliver it again is gone.
			if err := js.DeleteConsumer(t.Context(), "S", consumers(t, js)[0].Name); err != nil {
				t.Error(err)
			}
			return errors.New("not now")
		}
		return got.handle(e)
	})
	for _, body := range []string{"1", "fails", "2"} {
		publish(t, b, "s.a", body)
	}
	seen := map[string]bool{}
	for !seen["1"] || !seen["2"] || !seen["fails"] {
		seen[got.next().body] = true
	}
	publish(t, b, "s.a", "3")
	for got.next().body != "3" {
	}
}

func TestStreamRefused(t *testing.T) {
	without, with := natstest.Start(t), natstest.Start(t, natstest.JetStream())
	_ = connect(t, with.Addr(), stream()) // makes S
	t.Run("no JetStream", func(t *testing.T) {
		if err := open(t, without.Addr(), stream()).Connect(); !errors.Is(err, nats.ErrStream) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no stream", func(t *testing.T) {
		if err := open(t, with.Addr(), nats.JetStream("none")).Connect(); !errors.Is(err, nats.ErrStream) {
			t.Errorf("got %v", err)
		}
	})
	b := connect(t, with.Addr(), stream())
	t.Run("topic of no stream", func(t *testing.T) {
		within(t, 5*time.Second, "Publish", func() {
			if err := b.Publish("other", &broker.Message{}); !errors.Is(err, nats.ErrStream) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("topic of another stream", func(t *testing.T) {
		connect(t, with.Addr(), nats.JetStream("O", nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"o.>"}})))
		if err := b.Publish("o.a", &broker.Message{}); !errors.Is(err, nats.ErrStream) {
			t.Errorf("got %v", err)
		}
		if _, err := b.Subscribe("o.a", func(broker.Event) error { return nil }); !errors.Is(err, nats.ErrStream) {
			t.Errorf("subscribe: got %v", err)
		}
	})
	t.Run("durable of another topic", func(t *testing.T) {
		subscribe(t, b, "s.a", nats.Durable("d"))
		if _, err := b.Subscribe("s.b", func(broker.Event) error { return nil }, nats.Durable("d")); !errors.Is(err, nats.ErrStream) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("too large for the stream", func(t *testing.T) {
		small := connect(t, with.Addr(), nats.JetStream("small", nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"small"}, MaxMsgSize: 500})))
		if err := small.Publish("small", &broker.Message{Body: make([]byte, 1000)}); !errors.Is(err, nats.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	})
}
