package sealed_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, slices.Concat(leaktest.Selector(), leaktest.Memory(), leaktest.HTTP(),
		[]string{"go-micro.dev/v4/server.(*rpcServer).Stop"})...)
}

// fleet is an authority, and services that know each other by their cards.
type fleet struct {
	t         testing.TB
	authority *identity.Authority
	members   map[string]*identity.Identity
}

func newFleet(t testing.TB, services ...string) *fleet {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, authority: a, members: make(map[string]*identity.Identity)}
	for _, s := range services {
		f.issue(s)
	}
	f.introduce()
	return f
}

// issue makes an identity that others do not know yet.
func (f *fleet) issue(service string, opts ...identity.IssueOption) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { id.Close() })
	f.members[service] = id
	return id
}

// introduce hands everybody's card to everybody.
func (f *fleet) introduce() {
	f.t.Helper()
	for a, from := range f.members {
		card, err := from.Card()
		if err != nil {
			f.t.Fatal(err)
		}
		for b, to := range f.members {
			if a == b {
				continue
			}
			if err := to.AddCard(card); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// orders is the rule that most tests have.
func orders(more ...sealed.TopicRule) broker.Option {
	return sealed.Topic("orders.*", append([]sealed.TopicRule{sealed.Publishers("shop"), sealed.Subscribers("billing", "shipping")}, more...)...)
}

var quiet = logger.NewLogger(logger.WithLevel(logger.FatalLevel))

// join returns a connected sealed broker of a member around an inner one.
func (f *fleet) join(service string, inner broker.Broker, opts ...broker.Option) broker.Broker {
	f.t.Helper()
	opts = append([]broker.Option{sealed.Wrap(inner), sealed.Identity(f.members[service]), broker.Logger(quiet)}, opts...)
	b := sealed.NewBroker(opts...)
	if err := b.Connect(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = b.Disconnect() })
	return b
}

// wire is an inner broker whose operator sees and does what the test wants: it delivers
// in the goroutine of whoever publishes, what on returns for each message.
type wire struct {
	broker.Broker // memory, for what is not of interest

	mu   sync.Mutex
	subs []*wireSub
	seen []packet
	// on decides what becomes of a message; nil delivers it.
	on func(p packet) []packet
	// reuse overwrites what was delivered; noTerm has events without Term, and ackErr is
	// what Ack returns.
	reuse, noTerm bool
	ackErr        error
}

// packet is a message on the wire.
type packet struct {
	topic   string
	message *broker.Message
}

func (p packet) clone() packet {
	return packet{p.topic, &broker.Message{Header: maps.Clone(p.message.Header), Body: append([]byte(nil), p.message.Body...)}}
}

type wireSub struct {
	topic   string
	handler broker.Handler
	opts    broker.SubscribeOptions
	wire    *wire
}

func (s *wireSub) Options() broker.SubscribeOptions { return s.opts }
func (s *wireSub) Topic() string                    { return s.topic }
func (s *wireSub) Unsubscribe() error {
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	for i, sub := range s.wire.subs {
		if sub == s {
			s.wire.subs = append(s.wire.subs[:i:i], s.wire.subs[i+1:]...)
			break
		}
	}
	return nil
}

func newWire() *wire {
	return &wire{Broker: broker.NewMemoryBroker(broker.Logger(quiet))}
}

func (w *wire) Subscribe(topic string, h broker.Handler, opts ...broker.SubscribeOption) (broker.Subscriber, error) {
	s := &wireSub{topic, h, broker.NewSubscribeOptions(opts...), w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs = append(w.subs, s)
	return s, nil
}

func (w *wire) Publish(topic string, m *broker.Message, _ ...broker.PublishOption) error {
	p := packet{topic, m}.clone()
	w.mu.Lock()
	w.seen = append(w.seen, p)
	on := w.on
	w.mu.Unlock()
	out := []packet{p}
	if on != nil {
		out = on(p)
	}
	var first error
	for _, p := range out {
		for _, r := range w.deliver(p) {
			if r.err != nil && first == nil {
				first = r.err
			}
		}
	}
	return first
}

// outcome is what became of one delivery.
type outcome struct {
	acks  int
	terms int
	err   error
}

// deliver hands a message to all who subscribe to its topic.
func (w *wire) deliver(p packet) (outcomes []outcome) {
	w.mu.Lock()
	subs := append([]*wireSub(nil), w.subs...)
	w.mu.Unlock()
	for _, s := range subs {
		if s.topic != p.topic && s.topic != ">" {
			continue
		}
		c := p.clone()
		e := &wireEvent{packet: c, ackErr: w.ackErr}
		var given broker.Event = e
		if w.noTerm {
			given = struct{ broker.Event }{e}
		}
		err := s.handler(given)
		outcomes = append(outcomes, outcome{e.acks, e.terms, err})
		if w.reuse {
			clear(c.message.Header)
			for i := range c.message.Body {
				c.message.Body[i] = 'Z'
			}
		}
	}
	return outcomes
}

// set changes what becomes of messages.
func (w *wire) set(on func(p packet) []packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = on
}

// sent returns the messages that were published, the newest last.
func (w *wire) sent() []packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]packet(nil), w.seen...)
}

func (w *wire) last(t testing.TB) packet {
	t.Helper()
	all := w.sent()
	if len(all) == 0 {
		t.Fatal("nothing was sent")
	}
	return all[len(all)-1].clone()
}

type wireEvent struct {
	packet
	acks, terms int
	ackErr      error
}

func (e *wireEvent) Topic() string            { return e.topic }
func (e *wireEvent) Message() *broker.Message { return e.message }
func (e *wireEvent) Error() error             { return nil }
func (e *wireEvent) Term() error              { e.terms++; return nil }

func (e *wireEvent) Ack() error {
	if e.ackErr == nil {
		e.acks++
	}
	return e.ackErr
}

// inbox is a handler that keeps what it gets.
type inbox struct {
	mu     sync.Mutex
	events []broker.Event
	fail   error
	arrive chan struct{}
}

func newInbox() *inbox { return &inbox{arrive: make(chan struct{}, 1<<20)} }

func (i *inbox) handle(e broker.Event) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.events = append(i.events, e)
	i.arrive <- struct{}{}
	return i.fail
}

func (i *inbox) setFail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fail = err
}

func (i *inbox) bodies() (all []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.events {
		all = append(all, string(e.Message().Body))
	}
	return all
}

func (i *inbox) last(t testing.TB) broker.Event {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.events) == 0 {
		t.Fatal("nothing was delivered")
	}
	return i.events[len(i.events)-1]
}

// wait waits for so many events.
func (i *inbox) wait(t testing.TB, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range n {
		select {
		case <-i.arrive:
		case <-ctx.Done():
			t.Fatalf("waiting for %d events: got %q", n, i.bodies())
		}
	}
}

// subscribe has an inbox subscribe.
func subscribe(t testing.TB, b broker.Broker, topic string, opts ...broker.SubscribeOption) *inbox {
	t.Helper()
	in := newInbox()
	s, err := b.Subscribe(topic, in.handle, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Unsubscribe() })
	return in
}

func publish(t testing.TB, b broker.Broker, topic, body string, header ...string) {
	t.Helper()
	m := &broker.Message{Header: make(map[string]string), Body: []byte(body)}
	for i := 0; i+1 < len(header); i += 2 {
		m.Header[header[i]] = header[i+1]
	}
	if err := b.Publish(topic, m); err != nil {
		t.Fatal(err)
	}
}

// rejections is a hook that keeps what it is told.
type rejections struct {
	mu  sync.Mutex
	all []sealed.Rejection
}

func (r *rejections) option() broker.Option {
	return sealed.OnReject(func(j sealed.Rejection) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, j)
	})
}

// take returns what has come since the last time.
func (r *rejections) take() []sealed.Rejection {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func wantError(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want %v", err, target)
	}
}
