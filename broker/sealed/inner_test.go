package sealed_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

// TestInitRefused: what the inner broker does not take is in force nowhere, also if
// somebody has used it meanwhile.
func TestInitRefused(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	for name, used := range map[string]bool{"before": true, "meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			w := &stubborn{wire: newWire()}
			b := sealed.NewBroker(sealed.Wrap(w), sealed.Identity(f.members["shop"]), orders(), broker.Logger(quiet))
			if used {
				publish(t, b, "orders.created", "first")
			}
			w.during = func() error { _ = b.Publish("late", &broker.Message{}); return errStubborn }
			if err := b.Init(sealed.Topic("late", sealed.Publishers("shop"), sealed.Subscribers("billing"))); !errors.Is(err, errStubborn) {
				t.Fatal(err)
			}
			wantError(t, b.Publish("late", &broker.Message{}), sealed.ErrNoRule)
			publish(t, b, "orders.created", "still")
		})
	}
}

// TestInnerRefuses: what the inner broker says against its options, or to Connect and
// Disconnect, is said to the caller, and nothing is left behind.
func TestInnerRefuses(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	w := &stubborn{wire: newWire(), during: func() error { return errStubborn }}
	b := sealed.NewBroker(sealed.Wrap(w), sealed.Identity(f.members["shop"]), orders(), broker.Logger(quiet))
	for _, err := range []error{b.Connect(), b.Publish("orders.created", &broker.Message{})} {
		wantError(t, err, errStubborn)
	}

	dir := t.TempDir() + "/shop"
	if err := f.members["shop"].Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	w = &stubborn{wire: newWire(), connect: errStubborn}
	b = sealed.NewBroker(sealed.Wrap(w), orders(), broker.Logger(quiet))
	wantError(t, b.Connect(), errStubborn)
	if err := b.Publish("orders.created", &broker.Message{}); err == nil || !strings.Contains(err.Error(), "call Connect first") {
		t.Errorf("after Connect has failed: %v", err)
	}
	w.connect = nil
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	w.disconnect = errStubborn
	wantError(t, b.Disconnect(), errStubborn)
	if err := b.Publish("orders.created", &broker.Message{}); err == nil || !strings.Contains(err.Error(), "call Connect first") {
		t.Errorf("after Disconnect has failed: %v", err)
	}
}

// stubborn is a broker that refuses what it is told to.
type stubborn struct {
	*wire
	during              func() error // Init
	connect, disconnect error
}

var errStubborn = errors.New("stubborn")

func (s *stubborn) Init(...broker.Option) error {
	if s.during == nil {
		return nil
	}
	return s.during()
}

func (s *stubborn) Connect() error    { return s.connect }
func (s *stubborn) Disconnect() error { return s.disconnect }

// TestDefaultBroker: without Wrap it is go-micro's.
func TestDefaultBroker(t *testing.T) {
	f := newFleet(t, "shop", "billing", "shipping")
	was, w := broker.DefaultBroker, newWire()
	broker.DefaultBroker = w
	defer func() { broker.DefaultBroker = was }()
	publish(t, sealed.NewBroker(sealed.Identity(f.members["shop"]), orders()), "orders.created", "hello")
	if n := len(w.sent()); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
}

// TestOptionsStay: the caller's options are the caller's, also with room behind them.
func TestOptionsStay(t *testing.T) {
	f := newFleet(t, "shop")
	called := false
	room := []broker.Option{
		sealed.Wrap(newWire()), sealed.Identity(f.members["shop"]), broker.ErrorHandler(func(broker.Event) error { return nil }),
		func(*broker.Options) { called = true },
	}
	b := sealed.NewBroker(room[:3]...)
	called = false
	room[3](new(broker.Options))
	if !called {
		t.Error("NewBroker wrote into the caller's slice")
	}
	if err := b.Init(room[:0]...); err != nil {
		t.Fatal(err)
	}
	o := new(broker.Options)
	room[0](o)
	if o.ErrorHandler != nil {
		t.Error("Init wrote into the caller's slice")
	}
}
