package sealed_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

// TestConfigurationsRefused: what is missing or wrong is an error of every call, before
// anything is connected, sent or subscribed to.
func TestConfigurationsRefused(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	closed := f.issue("closed")
	t.Setenv(identity.EnvDir, "")
	everything := func(name string, r ...sealed.TopicRule) broker.Option { return sealed.Topic(name, r...) }
	who := []sealed.TopicRule{sealed.Publishers("shop"), sealed.Subscribers("billing")}
	for name, tc := range map[string]struct {
		opts []broker.Option
		want string
	}{
		"no identity":           {[]broker.Option{sealed.Identity(nil)}, "sealed.Identity(nil)"},
		"zero identity":         {[]broker.Option{sealed.Identity(new(identity.Identity))}, "no ID"},
		"wrap nothing":          {[]broker.Option{sealed.Wrap(nil)}, "Wrap(nil)"},
		"wrap twice":            {[]broker.Option{sealed.Wrap(sealed.NewBroker(sealed.Identity(closed)))}, "sealed already"},
		"no publishers":         {[]broker.Option{everything("a", sealed.Subscribers("billing"))}, "sealed.Publishers"},
		"no subscribers":        {[]broker.Option{everything("a", sealed.Publishers("shop"))}, "sealed.Subscribers"},
		"empty pattern":         {[]broker.Option{everything("", who...)}, "0 bytes"},
		"long pattern":          {[]broker.Option{everything(strings.Repeat("x", 513), who...)}, "513 bytes"},
		"control characters":    {[]broker.Option{everything("a\nb", who...)}, "control characters"},
		"part of a segment":     {[]broker.Option{everything("a.b*", who...)}, "whole segment"},
		"> in the middle":       {[]broker.Option{everything("a.>.b", who...)}, "the last"},
		"no name":               {[]broker.Option{everything("a", sealed.Publishers("sh op"), sealed.Subscribers("billing"))}, "neither a service name nor a SPIFFE ID"},
		"no subscriber's name":  {[]broker.Option{everything("a", sealed.Publishers("shop"), sealed.Subscribers(""))}, "neither a service name nor a SPIFFE ID"},
		"pad 0":                 {[]broker.Option{everything("a", append(who, sealed.Pad(0))...)}, "Pad(0)"},
		"pad 2 MiB":             {[]broker.Option{everything("a", append(who, sealed.Pad(2<<20))...)}, "Pad(2097152)"},
		"reserved clear header": {[]broker.Option{everything("a", append(who, sealed.ClearHeaders("signet-caller"))...)}, "cannot be a clear header"},
		"empty clear header":    {[]broker.Option{everything("a", append(who, sealed.ClearHeaders(""))...)}, "cannot be a clear header"},
		"short MaxAge":          {[]broker.Option{sealed.MaxAge(time.Second)}, "MaxAge"},
		"long MaxAge":           {[]broker.Option{sealed.MaxAge(1000 * time.Hour)}, "MaxAge"},
		"short RotateEvery":     {[]broker.Option{sealed.RotateEvery(time.Second)}, "RotateEvery"},
		"long RotateEvery":      {[]broker.Option{sealed.RotateEvery(25 * time.Hour)}, "RotateEvery"},
		"no store":              {[]broker.Option{sealed.ReplayStore(nil)}, "ReplayStore(nil)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire()
			b := sealed.NewBroker(append([]broker.Option{sealed.Wrap(w), sealed.Identity(f.members["shop"]), orders()}, tc.opts...)...)
			_, subscribed := b.Subscribe("orders.created", func(broker.Event) error { return nil })
			for call, err := range map[string]error{
				"Connect": b.Connect(), "Publish": b.Publish("orders.created", &broker.Message{}), "Subscribe": subscribed,
			} {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v; want something about %q", call, err, tc.want)
				}
			}
			if len(w.sent()) != 0 || len(w.subs) != 0 {
				t.Error("something went to the broker")
			}
			if err := b.Disconnect(); err != nil || b.String() == "" || b.Options().ErrorHandler != nil {
				t.Errorf("%s, Disconnect: %v", b, err)
			}
		})
	}
	err := sealed.NewBroker(sealed.Wrap(newWire()), orders()).Connect()
	wantError(t, err, sealed.ErrNoIdentity)
	if !strings.Contains(err.Error(), "sealed.Identity(id)") || !strings.Contains(err.Error(), "$"+identity.EnvDir) {
		t.Errorf("the error names no remedy: %v", err)
	}
}

// TestRights: who may publish, and who can subscribe.
func TestRights(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping", "crm")
	w := newWire()
	all := sealed.Topic("any", sealed.AnyPublisher(), sealed.Subscribers("billing"))
	shop, billing, crm := f.join("shop", w, orders(), all), f.join("billing", w, orders(), all), f.join("crm", w, orders(), all)
	nobody := func(broker.Event) error { return nil }
	subscribe := func(b broker.Broker, topic string) error {
		s, err := b.Subscribe(topic, nobody)
		if err == nil {
			return s.Unsubscribe()
		}
		return err
	}
	for name, tc := range map[string]struct{ err, want error }{
		"publish, no rule":             {shop.Publish("orders", &broker.Message{}), sealed.ErrNoRule},
		"publish, a segment more":      {shop.Publish("orders.a.b", &broker.Message{}), sealed.ErrNoRule},
		"publish, not named":           {billing.Publish("orders.a", &broker.Message{}), sealed.ErrNotPublisher},
		"publish, everybody":           {crm.Publish("any", &broker.Message{}), nil},
		"subscribe, no rule":           {subscribe(billing, "orders"), sealed.ErrNoRule},
		"subscribe, not named":         {subscribe(shop, "orders.a"), sealed.ErrNotSubscriber},
		"subscribe, named":             {subscribe(billing, "orders.a"), nil},
		"subscribe, wildcard":          {subscribe(billing, "orders.>"), nil},
		"subscribe, all":               {subscribe(billing, ">"), nil},
		"subscribe, all, named nought": {subscribe(crm, ">"), sealed.ErrNotSubscriber},
		"subscribe, elsewhere":         {subscribe(billing, "payments.*"), sealed.ErrNoRule},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%s: %v, want %v", name, tc.err, tc.want)
		}
	}
	if n := len(w.sent()); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
	if err := shop.Publish("orders.a", nil); err == nil {
		t.Error("a nil message was published")
	}
	if _, err := billing.Subscribe("orders.a", nil); err == nil {
		t.Error("a nil handler was subscribed")
	}
}

// TestNarrowestRule: of the rules that match a topic the narrowest counts alone,
// whatever their order.
func TestNarrowestRule(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	rules := []broker.Option{
		sealed.Topic(">", sealed.Publishers("shop"), sealed.Subscribers("billing")),
		sealed.Topic("orders.*", sealed.Publishers("billing"), sealed.Subscribers("shipping")),
		sealed.Topic("orders.secret", sealed.Publishers("shipping"), sealed.Subscribers("shop")),
		sealed.Topic("*.secret", sealed.Publishers("nobody"), sealed.Subscribers("nobody")),
		sealed.Topic("orders.>", sealed.Publishers("nobody"), sealed.Subscribers("nobody")),
	}
	for range len(rules) {
		rules = append(rules[1:], rules[0])
		for topic, publisher := range map[string]string{
			"anything": "shop", "a.b.c": "shop", "orders.x": "billing", "orders.secret": "shipping", "x.secret": "", "orders.x.y": "",
		} {
			w := newWire()
			for _, who := range []string{"shop", "billing", "shipping"} {
				err := f.join(who, w, rules...).Publish(topic, &broker.Message{})
				if (err == nil) != (who == publisher) {
					t.Errorf("%s publishes on %s: %v", who, topic, err)
				}
			}
		}
	}
	// The last rule of a pattern counts.
	b := f.join("shop", newWire(), append(rules, sealed.Topic(">", sealed.Publishers("billing"), sealed.Subscribers("shop")))...)
	wantError(t, b.Publish("anything", &broker.Message{}), sealed.ErrNotPublisher)
}

// TestRulesLater: Init brings rules to a broker that works, and what it has goes on.
func TestRulesLater(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := newWire()
	shop, billing := f.join("shop", w, orders()), f.join("billing", w, orders())
	in := subscribe(t, billing, "orders.created")
	publish(t, shop, "orders.created", "before")
	wantError(t, shop.Publish("refunds", &broker.Message{}), sealed.ErrNoRule)
	refunds := sealed.Topic("refunds", sealed.Publishers("shop"), sealed.Subscribers("billing"))
	for _, b := range []broker.Broker{shop, billing} {
		if err := b.Init(refunds); err != nil {
			t.Fatal(err)
		}
	}
	more := subscribe(t, billing, "refunds")
	publish(t, shop, "refunds", "new")
	publish(t, shop, "orders.created", "after")
	if got := strings.Join(append(in.bodies(), more.bodies()...), " "); got != "before after new" {
		t.Errorf("got %q", got)
	}
	// A rule that is replaced takes effect on what is subscribed already.
	if err := billing.Init(sealed.Topic("orders.*", sealed.Publishers("crm"), sealed.Subscribers("billing"))); err != nil {
		t.Fatal(err)
	}
	publish(t, shop, "orders.created", "no more")
	if got := in.bodies(); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

// TestFromEnv: the identity that the environment names, until Disconnect.
func TestFromEnv(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	dir := t.TempDir() + "/billing"
	if err := f.members["billing"].Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	w := newWire()
	shop := f.join("shop", w, orders())
	b := sealed.NewBroker(sealed.Wrap(w), orders(), broker.Logger(quiet))
	for range 2 {
		if err := b.Connect(); err != nil {
			t.Fatal(err)
		}
		in := newInbox()
		s, err := b.Subscribe("orders.created", in.handle)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, shop, "orders.created", "hello")
		if got := in.bodies(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		if err := s.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := b.Disconnect(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNotConnected: an identity of the environment is loaded by Connect and let go of by
// Disconnect; who publishes before or after would leave it open.
func TestNotConnected(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	dir := t.TempDir() + "/shop"
	if err := f.members["shop"].Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	b := sealed.NewBroker(sealed.Wrap(newWire()), orders(), broker.Logger(quiet))
	refused := func(when string) {
		t.Helper()
		_, subscribed := b.Subscribe("orders.created", func(broker.Event) error { return nil })
		for _, err := range []error{subscribed, b.Publish("orders.created", &broker.Message{})} {
			if err == nil || !strings.Contains(err.Error(), "Connect") {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	refused("before Connect")
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("orders.created", &broker.Message{}); !errors.Is(err, sealed.ErrNoRecipients) {
		t.Errorf("connected: %v", err)
	}
	if err := b.Disconnect(); err != nil {
		t.Fatal(err)
	}
	refused("after Disconnect")
}

// TestFromEnvGivenBack: as often as the broker asks for its options' identity, it holds
// the one of the environment once, and gives it back.
func TestFromEnvGivenBack(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	dir := t.TempDir() + "/shop"
	if err := f.members["shop"].Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	for name, refuse := range map[string]error{"Disconnect": nil, "Connect that fails": errStubborn} {
		t.Run(name, func(t *testing.T) {
			ours, err := identity.FromEnv() // the same as the broker's
			if err != nil {
				t.Fatal(err)
			}
			b := sealed.NewBroker(sealed.Wrap(&stubborn{wire: newWire(), connect: refuse}), orders(), broker.Logger(quiet))
			wantError(t, b.Connect(), refuse)
			if refuse == nil {
				for range 2 {
					if err := b.Init(); err != nil {
						t.Fatal(err)
					}
					wantError(t, b.Publish("orders.created", &broker.Message{}), sealed.ErrNoRecipients)
				}
				if err := b.Disconnect(); err != nil {
					t.Fatal(err)
				}
			}
			if err := ours.Err(); err != nil {
				t.Errorf("the broker has given back what is ours: %v", err)
			}
			if err := ours.Close(); err != nil {
				t.Fatal(err)
			}
			wantError(t, ours.Err(), identity.ErrClosed)
		})
	}
}

// TestFirstUse: all who come first use one and the same. Time stands still, since a message
// from before the first epoch would need another.
func TestFirstUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing", "shipping")
		for range 20 {
			b := sealed.NewBroker(sealed.Wrap(newWire()), sealed.Identity(f.members["shop"]), orders(), broker.Logger(quiet))
			begin := make(chan struct{})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					<-begin
					if err := b.Publish("orders.created", &broker.Message{}); err != nil {
						t.Error(err)
					}
				})
			}
			close(begin)
			wg.Wait()
			if n := sealed.StatsOf(b).EpochsMade; n != 1 {
				t.Errorf("%d epochs", n)
			}
		}
	})
}
