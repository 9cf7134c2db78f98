package sealed_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// long is how long something may take that others do.
const long = 60 * time.Second

var quiet = logger.NewLogger(logger.WithLevel(logger.FatalLevel))

// fleet is an authority, and a registry in which members find each other's keys.
type fleet struct {
	t         *testing.T
	authority *identity.Authority
	registry  registry.Registry // unsigned: members wrap it

	mu      sync.Mutex
	members map[string]*member
}

// member is one process: an identity and its registry, in which it is registered.
type member struct {
	fleet    *fleet
	id       *identity.Identity
	registry registry.Registry
	node     *registry.Service
}

func newFleet(t *testing.T, services ...string) *fleet {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	must(t, err)
	f := &fleet{t: t, authority: a, registry: registry.NewMemoryRegistry(registry.Logger(quiet)), members: make(map[string]*member)}
	for _, s := range services {
		f.add(s)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// issue makes an identity.
func (f *fleet) issue(service string) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service)
	must(f.t, err)
	f.t.Cleanup(func() { _ = id.Close() })
	return id
}

// add makes a member, or one more replica of a service, which is then the one that the
// fleet knows by that name.
func (f *fleet) add(service string) *member { return f.addAs(service, f.issue(service)) }

func (f *fleet) addAs(service string, id *identity.Identity) *member {
	f.t.Helper()
	m := &member{fleet: f, id: id}
	m.registry = signed.NewRegistry(signed.Wrap(f.registry), signed.Identity(id), signed.PostQuantum(), registry.Logger(quiet))
	f.t.Cleanup(func() { _ = m.registry.(interface{ Close() error }).Close() })
	f.mu.Lock()
	f.members[service] = m
	n := len(f.members)
	f.mu.Unlock()
	m.node = &registry.Service{Name: service, Version: "1", Nodes: []*registry.Node{{
		Id: fmt.Sprintf("%s-%d-%d", service, n, time.Now().UnixNano()), Address: fmt.Sprintf("127.0.0.1:%d", 20000+n),
	}}}
	must(f.t, m.registry.Register(m.node))
	return m
}

// rule is what most tests have.
func rule(more ...sealed.TopicRule) broker.Option {
	return sealed.Topic("orders.>", append([]sealed.TopicRule{sealed.Publishers("shop"), sealed.Subscribers("billing", "shipping")}, more...)...)
}

// join connects a member's sealed broker around an inner one.
func (f *fleet) join(service string, inner broker.Broker, opts ...broker.Option) broker.Broker {
	f.t.Helper()
	f.mu.Lock()
	m := f.members[service]
	f.mu.Unlock()
	return m.join(inner, opts...)
}

func (m *member) join(inner broker.Broker, opts ...broker.Option) broker.Broker {
	m.fleet.t.Helper()
	b := m.wrap(inner, opts...)
	must(m.fleet.t, b.Connect())
	m.fleet.t.Cleanup(func() { _ = b.Disconnect() })
	return b
}

func (m *member) wrap(inner broker.Broker, opts ...broker.Option) broker.Broker {
	return sealed.NewBroker(append([]broker.Option{
		sealed.Wrap(inner), sealed.Identity(m.id), broker.Registry(m.registry), broker.Logger(quiet), rule(),
	}, opts...)...)
}

// inbox keeps what a handler gets.
type inbox struct {
	t     *testing.T
	mu    sync.Mutex
	got   map[string]int // body → how often
	order []string
	last  broker.Event
	any   chan struct{}
	fail  func(body string, times int) error
}

func newInbox(t *testing.T) *inbox {
	return &inbox{t: t, got: make(map[string]int), any: make(chan struct{}, 1)}
}

func (i *inbox) handle(e broker.Event) error {
	i.mu.Lock()
	body := string(e.Message().Body)
	i.got[body]++
	i.order = append(i.order, body)
	i.last = e
	fail, times := i.fail, i.got[body]
	i.mu.Unlock()
	select {
	case i.any <- struct{}{}:
	default:
	}
	if fail != nil {
		return fail(body, times)
	}
	return nil
}

// count returns how many messages were handled, and how many of them are different.
func (i *inbox) count() (all, different int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.order), len(i.got)
}

func (i *inbox) times(body string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.got[body]
}

// until waits until something is true of what was handled.
func (i *inbox) until(what string, done func() bool) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), long)
	defer cancel()
	for !done() {
		select {
		case <-i.any:
		case <-ctx.Done():
			all, different := i.count()
			i.t.Fatalf("%s: not within %v; %d messages were handled, of them %d different", what, long, all, different)
		}
	}
}

// want waits for a message.
func (i *inbox) want(body string) {
	i.t.Helper()
	i.until(fmt.Sprintf("%q", body), func() bool { return i.times(body) > 0 })
}

func subscribe(t *testing.T, b broker.Broker, topic string, opts ...broker.SubscribeOption) *inbox {
	t.Helper()
	i := newInbox(t)
	_, err := b.Subscribe(topic, i.handle, opts...)
	must(t, err)
	return i
}

func publish(t testing.TB, b broker.Broker, topic, body string) {
	t.Helper()
	must(t, b.Publish(topic, &broker.Message{Header: map[string]string{"Content-Type": "text/plain"}, Body: []byte(body)}))
}

// rejections counts what was refused.
type rejections struct {
	mu  sync.Mutex
	all map[sealed.Reason]int
}

func (r *rejections) option() broker.Option {
	return sealed.OnReject(func(j sealed.Rejection) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.all == nil {
			r.all = make(map[sealed.Reason]int)
		}
		r.all[j.Reason]++
	})
}

func (r *rejections) of(reason sealed.Reason) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[reason]
}

// eventually polls for what others bring about.
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
