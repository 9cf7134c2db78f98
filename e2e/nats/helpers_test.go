package nats_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// long is how long something may take that another goroutine or process does.
const long = 30 * time.Second

func TestMain(m *testing.M) {
	leaktest.Main(m, leaktest.Selector()...)
}

// open makes a broker that logs where nobody looks.
func open(t *testing.T, addr string, opts ...broker.Option) broker.Broker {
	t.Helper()
	return nats.NewBroker(append([]broker.Option{broker.Addrs(addr), broker.Logger(newLogs())}, opts...)...)
}

// connect makes a broker that is disconnected at the end of the test.
func connect(t *testing.T, addr string, opts ...broker.Option) broker.Broker {
	t.Helper()
	b := open(t, addr, opts...)
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		within(t, long, "Disconnect", func() { _ = b.Disconnect() })
	})
	return b
}

func publish(t *testing.T, b broker.Broker, topic, body string) {
	t.Helper()
	if err := b.Publish(topic, &broker.Message{Body: []byte(body)}); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// inbox keeps what a handler gets.
type inbox struct {
	t  *testing.T
	ch chan delivery
}

type delivery struct {
	topic  string
	header map[string]string
	body   string
}

func newInbox(t *testing.T) *inbox { return &inbox{t: t, ch: make(chan delivery, 1<<16)} }

func (i *inbox) handle(e broker.Event) error {
	m := e.Message()
	i.ch <- delivery{e.Topic(), m.Header, string(m.Body)}
	return nil
}

// next returns the next message.
func (i *inbox) next() delivery {
	i.t.Helper()
	select {
	case d := <-i.ch:
		return d
	case <-time.After(long):
		i.t.Fatalf("no message within %v", long)
		return delivery{}
	}
}

// want takes as many messages as there are bodies, in this order.
func (i *inbox) want(bodies ...string) {
	i.t.Helper()
	for _, body := range bodies {
		if d := i.next(); d.body != body {
			i.t.Fatalf("got %q, want %q", d.body, body)
		}
	}
}

// empty checks that nothing more has come.
func (i *inbox) empty() {
	i.t.Helper()
	select {
	case d := <-i.ch:
		i.t.Fatalf("got %q, want nothing", d.body)
	default:
	}
}

// subscribe subscribes a new inbox.
func subscribe(t *testing.T, b broker.Broker, topic string, opts ...broker.SubscribeOption) *inbox {
	t.Helper()
	i := newInbox(t)
	subscribeWith(t, b, topic, i.handle, opts...)
	return i
}

func subscribeWith(t *testing.T, b broker.Broker, topic string, h broker.Handler, opts ...broker.SubscribeOption) broker.Subscriber {
	t.Helper()
	s, err := b.Subscribe(topic, h, opts...)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return s
}

func stats(b broker.Broker) nats.Stats { return b.(interface{ Stats() nats.Stats }).Stats() }

// incidentOf waits for an incident of a kind.
func incidentOf(t *testing.T, incidents <-chan nats.Incident, kind nats.Kind) nats.Incident {
	t.Helper()
	end := time.After(long)
	for {
		select {
		case i := <-incidents:
			if i.Kind == kind {
				return i
			}
		case <-end:
			t.Fatalf("not reported: %v", kind)
		}
	}
}

func authority(t *testing.T, domain string) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority(domain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *identity.Authority, service string, opts ...identity.IssueOption) *identity.Identity {
	t.Helper()
	id, err := a.Issue(service, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	return id
}

// logs keeps what is logged, and prints nothing.
type logs struct {
	logger.Logger
	mu    sync.Mutex
	lines []string
}

func newLogs() *logs { return &logs{Logger: logger.NewLogger()} }

func (l *logs) Logf(_ logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// count returns how many lines have s in them.
func (l *logs) count(s string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, s) {
			n++
		}
	}
	return n
}

// within runs f and fails the test if it takes longer than a test should wait.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s takes longer than %v", what, d)
	}
}

// eventually polls for what another goroutine or process brings about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(long)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", long, what)
		}
	}
}
