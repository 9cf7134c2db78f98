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
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// TestConnectWithoutServer returns soon, and works once there is one.
func TestConnectWithoutServer(t *testing.T) {
	s := natstest.Start(t)
	for name, cut := range map[string]func(){"refused": s.Proxy.Refuse, "silent": s.Proxy.Blackhole} {
		t.Run(name, func(t *testing.T) {
			cut()
			b := open(t, s.Addr(), nats.Use(natsgo.Timeout(200*time.Millisecond)))
			within(t, 10*time.Second, "Connect", func() {
				if err := b.Connect(); err == nil {
					t.Error("connected to nothing")
				}
			})
			if err := b.Publish("topic", &broker.Message{}); !errors.Is(err, nats.ErrNotConnected) {
				t.Errorf("Publish: got %v", err)
			}
			if _, err := b.Subscribe("topic", func(broker.Event) error { return nil }); !errors.Is(err, nats.ErrNotConnected) {
				t.Errorf("Subscribe: got %v", err)
			}
			s.Proxy.Pass()
			if err := b.Connect(); err != nil {
				t.Error(err)
			}
			if err := errors.Join(b.Connect(), b.Disconnect(), b.Disconnect()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRestartUnderLoad restarts the server while messages flow.
func TestRestartUnderLoad(t *testing.T) {
	s := natstest.Start(t)
	a, b := connect(t, s.Addr()), connect(t, s.Addr())
	got := subscribe(t, b, "topic.*")
	queued := subscribe(t, b, "topic.*", broker.Queue("q"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = a.Publish("topic.load", &broker.Message{Body: []byte(fmt.Sprint(i))})
			}
		}
	})
	for i := range 3 {
		s.Kill()
		s.Restart(nil)
		eventually(t, "both are connected again", func() bool { return stats(a).Reconnects > uint64(i) && stats(b).Reconnects > uint64(i) })
	}
	close(stop)
	wg.Wait()
	// What was subscribed is there still, and nothing but that.
	eventually(t, "the subscriptions are there", func() bool {
		publish(t, a, "topic.probe", "probe")
		return found(got, "topic.probe") && found(queued, "topic.probe")
	})
	if n := s.Running().NumClients(); n != 2 {
		t.Errorf("%d clients", n)
	}
}

// found looks whether a topic is among what has come.
func found(i *inbox, topic string) bool {
	for {
		select {
		case d := <-i.ch:
			if d.topic == topic {
				return true
			}
		case <-time.After(200 * time.Millisecond):
			return false
		}
	}
}

// TestReconnectNeverEnds stays away for longer than nats.go would try by default, and
// refuses the account meanwhile, which would end it at the second time.
func TestReconnectNeverEnds(t *testing.T) {
	s := natstest.Start(t, natstest.Token("secret"))
	log := newLogs()
	var refused atomic.Int64
	b := connect(t, s.Addr(), nats.Token("secret"), broker.Logger(log), nats.OnIncident(func(i nats.Incident) {
		if errors.Is(i.Err, natsgo.ErrAuthorization) {
			refused.Add(1)
		}
	}), nats.Use(natsgo.CustomReconnectDelay(func(int) time.Duration { return time.Millisecond })))
	got := subscribe(t, b, "topic")
	s.Kill()
	eventually(t, "it found no server some times", func() bool { return log.count("reconnect:") > 5 })
	s.Restart(func(o *server.Options) { o.Authorization = "changed" })
	eventually(t, "it was refused some times", func() bool { return refused.Load() > 5 })
	s.Kill()
	s.Restart(func(o *server.Options) { o.Authorization = "secret" })
	eventually(t, "it is connected again", func() bool { return stats(b).Reconnects == 1 })
	publish(t, b, "topic", "x")
	got.want("x")
}

// TestServerEndsTheLink sends what nats.go takes for the end.
func TestServerEndsTheLink(t *testing.T) {
	s := natstest.Start(t)
	b := connect(t, s.Addr())
	got := subscribe(t, b, "topic")
	s.Kill()
	s.Restart(func(o *server.Options) { o.MaxControlLine = 512 })
	eventually(t, "it is connected again", func() bool { return stats(b).Reconnects == 1 })
	publish(t, b, "topic."+strings.Repeat("x", 1000), "too long for this server")
	eventually(t, "there is a new link", func() bool { return stats(b).Reconnects > 1 })
	eventually(t, "the subscription is there", func() bool {
		_ = b.Publish("topic", &broker.Message{Body: []byte("x")})
		return found(got, "topic")
	})
}

// TestPublishWhileDown keeps what is published until the link is up again.
func TestPublishWhileDown(t *testing.T) {
	s := natstest.Start(t)
	down := make(chan struct{})
	b := connect(t, s.Addr(), nats.Use(natsgo.ReconnectBufSize(1000)), nats.OnIncident(func(i nats.Incident) {
		if i.Kind == nats.Disconnected {
			close(down)
		}
	}))
	c := s.Client()
	sub, err := c.SubscribeSync("topic")
	if err := errors.Join(err, c.Flush()); err != nil {
		t.Fatal(err)
	}
	s.Proxy.Refuse()
	<-down
	var kept []string
	for i := 0; err == nil && i < 10000; i++ {
		body := fmt.Sprint(i)
		if err = b.Publish("topic", &broker.Message{Body: []byte(body)}); err == nil {
			kept = append(kept, body)
		}
	}
	if !errors.Is(err, nats.ErrNotConnected) || len(kept) > 1000 {
		t.Errorf("after %d messages: %v", len(kept), err)
	}
	s.Proxy.Pass()
	for _, body := range kept {
		if m, err := sub.NextMsg(long); err != nil || string(m.Data) != body {
			t.Fatalf("got %v, %v, want %q", m, err, body)
		}
	}
}

func TestMaxPayload(t *testing.T) {
	s := natstest.Start(t, natstest.MaxPayload(1000))
	b := connect(t, s.Addr())
	got := subscribe(t, b, "topic")
	for name, m := range map[string]*broker.Message{
		"body":    {Body: make([]byte, 1001)},
		"headers": {Header: map[string]string{"A": strings.Repeat("x", 600)}, Body: make([]byte, 500)},
	} {
		t.Run(name, func(t *testing.T) {
			err := b.Publish("topic", m)
			if !errors.Is(err, nats.ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprint(len(m.Body))) || !strings.Contains(err.Error(), "1000") {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := b.Publish("topic", &broker.Message{Body: make([]byte, 1000)}); err != nil {
		t.Error(err)
	}
	if d := got.next(); len(d.body) != 1000 {
		t.Errorf("got %d bytes", len(d.body))
	}
}

// TestSlowHandler drops, says so, and delivers what comes later.
func TestSlowHandler(t *testing.T) {
	s := natstest.Start(t)
	for name, limits := range map[string]broker.Option{"messages": nats.PendingLimits(10, 1<<20), "bytes": nats.PendingLimits(1000, 1000)} {
		t.Run(name, func(t *testing.T) {
			incidents := make(chan nats.Incident, 1<<16)
			handled := make(chan broker.Event, 1<<16)
			b := connect(t, s.Addr(), limits,
				nats.OnIncident(func(i nats.Incident) { incidents <- i }),
				broker.ErrorHandler(func(e broker.Event) error { handled <- e; return nil }))
			release, got := make(chan struct{}), newInbox(t)
			subscribeWith(t, b, "topic", func(e broker.Event) error {
				<-release
				return got.handle(e)
			}, broker.Queue("q"))
			a := connect(t, s.Addr())
			for range 200 {
				publish(t, a, "topic", strings.Repeat("x", 100))
			}
			var n uint64
			for n < 100 {
				select {
				case i := <-incidents:
					if i.Kind != nats.Slow || i.Topic != "topic" || i.Queue != "q" || i.Dropped == 0 || !errors.Is(i.Err, nats.ErrSlow) {
						t.Errorf("got %+v", i)
					}
					n += i.Dropped
				case <-time.After(long):
					t.Fatalf("%d reported as dropped", n)
				}
			}
			if e := <-handled; e.Topic() != "topic" || !errors.Is(e.Error(), nats.ErrSlow) || e.Message() == nil {
				t.Errorf("the ErrorHandler got %v", e.Error())
			}
			eventually(t, "all are counted", func() bool { return stats(b).Dropped >= 180 })
			close(release)
			eventually(t, "a good message comes", func() bool {
				publish(t, a, "topic", "good")
				for {
					select {
					case d := <-got.ch:
						if d.body == "good" {
							return true
						}
					case <-time.After(100 * time.Millisecond):
						return false
					}
				}
			})
		})
	}
}
