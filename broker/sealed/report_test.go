package sealed_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// logs keeps what is logged, and prints nothing.
type logs struct {
	logger.Logger
	mu    sync.Mutex
	lines []string
}

func newLogs() *logs { return &logs{Logger: quiet} }

func (l *logs) Logf(level logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level.String()+" "+fmt.Sprintf(format, args...))
}

// take returns what was logged since the last time.
func (l *logs) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// wantLines takes as many lines as there are lists, each with all of its list in it.
func (l *logs) wantLines(t *testing.T, want ...[]string) {
	t.Helper()
	lines := l.take()
	for i, line := range lines {
		if i < len(want) {
			for _, s := range want[i] {
				if !strings.Contains(line, s) {
					t.Errorf("the line %q does not have %q", line, s)
				}
			}
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d: %q", len(lines), len(want), lines)
	}
}

// TestRejectionsLogged: what was refused is logged so that it cannot forge another line,
// and from whom it is, or says to be.
func TestRejectionsLogged(t *testing.T) {
	log := newLogs()
	s := newScene(t, broker.Logger(log))
	all := subscribe(t, s.billing, ">")
	unsealed := packet{"orders.created\nWARN: all is well", &broker.Message{Body: []byte("clear")}}
	s.wire.deliver(unsealed)
	log.wantLines(t, []string{"warn ", `"orders.created\nWARN: all is well"`, `somebody who says to be ""`, "unsealed", "not sealed"})

	moved := s.sent(t, "private.a", "moved")
	moved.topic = "invoices.a"
	s.wire.deliver(moved)
	log.wantLines(t, []string{"invoices.a", `somebody who says to be "spiffe://shop.internal/shop"`, "publisher"})

	replayed := s.sent(t, "private.a", "replayed")
	s.wire.deliver(replayed)
	s.wire.deliver(replayed)
	log.wantLines(t, []string{"private.a", "from spiffe://shop.internal/shop refused: replay"})
	if got := all.bodies(); !slices.Equal(got, []string{"replayed"}) {
		t.Errorf("got %q", got)
	}
}

// TestRejectionsCounted: of a flood a few are logged, and the next line has the number
// of the others. The hook is told of all.
func TestRejectionsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLogs()
		s := newScene(t, broker.Logger(log))
		junk := packet{"orders.created", &broker.Message{Body: []byte("clear")}}
		flood := func(n int) {
			for range n {
				s.wire.deliver(junk)
			}
		}
		flood(100)
		if lines := log.take(); len(lines) != 10 || strings.Contains(strings.Join(lines, ""), "not logged") {
			t.Errorf("logged: %q", lines)
		}
		if n := len(s.refused.take()); n != 100 {
			t.Errorf("the hook was told of %d", n)
		}
		time.Sleep(time.Second)
		flood(2)
		log.wantLines(t, []string{"(and 90 that were not logged)"})
		time.Sleep(time.Second)
		flood(1)
		log.wantLines(t, []string{"(and 1 that were not logged)"})
		time.Sleep(time.Second)
		flood(1)
		if lines := log.take(); len(lines) != 1 || strings.Contains(lines[0], "not logged") {
			t.Errorf("logged: %q", lines)
		}
	})
}

// TestWarningsLimited: what fails with each message is logged so often and no more.
func TestWarningsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "shop", "billing", "shipping")
		w, log := newWire(), newLogs()
		w.ackErr, w.noTerm = fmt.Errorf("no ack"), true
		subscribe(t, f.join("billing", w, orders(), broker.Logger(log)), "orders.created", broker.DisableAutoAck())
		for range 100 {
			w.deliver(packet{"orders.created", &broker.Message{Body: []byte("clear")}})
		}
		lines := log.take()
		settled := 0
		for _, line := range lines {
			if strings.Contains(line, "warn sealed: settle a message on \"orders.created\": no ack") {
				settled++
			}
		}
		if len(lines) != 10 || settled != 5 {
			t.Errorf("logged: %q", lines)
		}
	})
}

// TestMissingLogged: who cannot read is named, and that all can again is said.
func TestMissingLogged(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	shipping, w, log := f.issue("shipping"), newWire(), newLogs()
	shop := f.join("shop", w, orders(), broker.Logger(log)) // without a hook
	publish(t, shop, "orders.created", "one")
	publish(t, shop, "orders.created", "again")
	log.wantLines(t, []string{"warn ", `"orders.*"`, "no box key is known of " + shipping.ID() + ":", "AddCard"})
	f.introduce()
	publish(t, shop, "orders.created", "both")
	log.wantLines(t, []string{"info ", `"orders.*"`, "all subscribers are known"})
}

// TestHooksPanic: what panics in a hook harms no message, and is logged.
func TestHooksPanic(t *testing.T) {
	f := newFleet(t, "shop", "billing")
	f.issue("shipping")
	w, log := newWire(), newLogs()
	shop := f.join("shop", w, orders(), broker.Logger(log), sealed.OnMissing(func(string, []string) { panic("missing oops") }))
	billing := f.join("billing", w, orders(), broker.Logger(log), sealed.OnReject(func(sealed.Rejection) { panic("reject oops") }))
	in := subscribe(t, billing, "orders.created")
	w.deliver(packet{"orders.created", &broker.Message{Body: []byte("clear")}})
	log.wantLines(t, []string{"refused"}, []string{"error ", "OnReject panicked: reject oops"})
	publish(t, shop, "orders.created", "good")
	log.wantLines(t, []string{"no box key"}, []string{"error ", "OnMissing panicked: missing oops"})
	if got := in.bodies(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("got %q", got)
	}
}

// TestLogger: the log is the one that was given last, and go-micro's if none is.
func TestLogger(t *testing.T) {
	was, standard := logger.DefaultLogger, newLogs()
	logger.DefaultLogger = standard
	defer func() { logger.DefaultLogger = was }()
	f := newFleet(t, "billing")
	w := newWire()
	b := sealed.NewBroker(sealed.Wrap(w), sealed.Identity(f.members["billing"]), orders())
	subscribe(t, b, "orders.created")
	refused := func(log *logs) {
		t.Helper()
		w.deliver(packet{"orders.created", &broker.Message{Body: []byte("clear")}})
		log.wantLines(t, []string{"refused"})
	}
	refused(standard)
	later := newLogs()
	if err := b.Init(broker.Logger(later)); err != nil {
		t.Fatal(err)
	}
	refused(later)
	if err := b.Init(broker.Logger(nil)); err != nil {
		t.Fatal(err)
	}
	refused(standard)
}
