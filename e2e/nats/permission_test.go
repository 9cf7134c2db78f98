package nats_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"go-micro.dev/v4/broker"
)

var root = natstest.User{Name: "root", Password: "root password"}

func TestPermissions(t *testing.T) {
	user := natstest.User{Name: "greeter", Password: "secret", Publish: []string{"may.publish"}, Subscribe: []string{"may.subscribe", "may.queue q", "ü.*"}}
	s := natstest.Start(t, natstest.Users(root, user))
	incidents := make(chan nats.Incident, 1<<16)
	handled := make(chan broker.Event, 1<<16)
	b := connect(t, s.Addr(), nats.Auth("greeter", "secret"),
		nats.OnIncident(func(i nats.Incident) { incidents <- i }),
		broker.ErrorHandler(func(e broker.Event) error { handled <- e; return nil }))
	admin := connect(t, s.Addr(), nats.Auth("root", "root password"))

	t.Run("subscribe", func(t *testing.T) {
		got := subscribe(t, b, "may.subscribe")
		for _, tt := range []struct{ topic, queue string }{
			{"other", ""}, {"may.*", ""}, {">", ""}, {"may.queue", ""}, {"may.queue", "other"}, {"ö.x", ""}, {`o"ther`, "q"},
		} {
			_, err := b.Subscribe(tt.topic, func(broker.Event) error { return nil }, broker.Queue(tt.queue))
			if !errors.Is(err, nats.ErrDenied) {
				t.Errorf("%q %q: got %v", tt.topic, tt.queue, err)
			}
		}
		queued := subscribe(t, b, "may.queue", broker.Queue("q"))
		publish(t, admin, "may.subscribe", "1")
		publish(t, admin, "may.queue", "2")
		got.want("1")
		queued.want("2")
		select {
		case i := <-incidents:
			t.Errorf("what Subscribe returned was reported again: %+v", i)
		default:
		}
	})
	t.Run("publish", func(t *testing.T) {
		got := subscribe(t, admin, ">")
		publish(t, b, "other", "denied")
		i := <-incidents
		if i.Kind != nats.PublishDenied || i.Topic != "other" || !errors.Is(i.Err, nats.ErrDenied) {
			t.Errorf("got %+v", i)
		}
		if e := <-handled; e.Topic() != "other" || !errors.Is(e.Error(), nats.ErrDenied) {
			t.Errorf("the ErrorHandler got %q %v", e.Topic(), e.Error())
		}
		publish(t, b, "may.publish", "good")
		got.want("good")
	})
	t.Run("while others are denied", func(t *testing.T) {
		for i := range 20 {
			for range 20 {
				publish(t, b, "other", "denied")
			}
			if _, err := b.Subscribe(fmt.Sprint("denied.", i), func(broker.Event) error { return nil }); !errors.Is(err, nats.ErrDenied) {
				t.Errorf("got %v", err)
			}
			for range 20 {
				publish(t, b, "other", "denied")
			}
			if _, err := b.Subscribe("may.subscribe", func(broker.Event) error { return nil }); err != nil {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestPermissionTaken reports a subscription that is not permitted any more.
func TestPermissionTaken(t *testing.T) {
	user := natstest.User{Name: "greeter", Password: "secret", Subscribe: []string{"topic"}}
	s := natstest.Start(t, natstest.Users(root, user))
	incidents := make(chan nats.Incident, 1<<16)
	b := connect(t, s.Addr(), nats.Auth("greeter", "secret"), nats.OnIncident(func(i nats.Incident) { incidents <- i }))
	subscribe(t, b, "topic")
	s.Kill()
	s.Restart(func(o *server.Options) {
		o.Users[1].Permissions.Subscribe = &server.SubjectPermission{Allow: []string{"nothing"}}
	})
	for {
		select {
		case i := <-incidents:
			if i.Kind == nats.SubscribeDenied {
				if i.Topic != "topic" || !errors.Is(i.Err, nats.ErrDenied) {
					t.Errorf("got %+v", i)
				}
				return
			}
		case <-time.After(long):
			t.Fatal("nothing was reported")
		}
	}
}

func TestWrongAccount(t *testing.T) {
	s := natstest.Start(t, natstest.Users(root))
	err := open(t, s.Addr(), nats.Auth("root", "wrong secret")).Connect()
	if err == nil || !strings.Contains(err.Error(), "nats.Auth") || strings.Contains(err.Error(), "wrong secret") {
		t.Errorf("got %v", err)
	}
}

// TestStreamPermissions are those of broker/nats/README.md, for certificates that are
// mapped to users.
func TestStreamPermissions(t *testing.T) {
	a := authority(t, "shop.internal")
	billing := natstest.User{Name: "spiffe://shop.internal/billing",
		Subscribe: []string{},
		Publish: []string{"s.billing", "$JS.API.STREAM.INFO.S", "$JS.API.CONSUMER.INFO.S.>", "$JS.API.CONSUMER.CREATE.S.>",
			"$JS.API.CONSUMER.MSG.NEXT.S.>", "$JS.API.CONSUMER.DELETE.S.>", "$JS.ACK.S.>"}}
	s := natstest.Start(t, natstest.JetStream(), natstest.TLS(a), natstest.MapCertificates(),
		natstest.Users(natstest.User{Name: "spiffe://shop.internal/root"}, billing))
	admin := connect(t, s.Addr(), stream(), nats.Identity(issue(t, a, "root")))
	b := connect(t, s.Addr(), stream(), nats.Identity(issue(t, a, "billing")))
	got, queued := newInbox(t), subscribe(t, b, "s.>", broker.Queue("q"))
	sub := subscribeWith(t, b, "s.>", got.handle)
	within(t, 5*time.Second, "Publish", func() {
		if err := b.Publish("s.other", &broker.Message{}); !errors.Is(err, nats.ErrDenied) {
			t.Errorf("got %v", err)
		}
	})
	publish(t, b, "s.billing", "1")
	publish(t, admin, "s.other", "2")
	got.want("1", "2")
	queued.want("1", "2")
	js := inspect(t, s)
	settled(t, js)
	if err := sub.Unsubscribe(); err != nil {
		t.Error(err)
	}
	eventually(t, "its consumer is gone", func() bool { return len(consumers(t, js)) == 1 })
	if err := open(t, s.Addr(), nats.Identity(issue(t, a, "stranger"))).Connect(); err == nil {
		t.Error("a service without a user was let in")
	}
}
