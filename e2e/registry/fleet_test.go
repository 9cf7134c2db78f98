package registry_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	merrors "go-micro.dev/v4/errors"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

const anyPort = "127.0.0.1:0"

// fleet is the services of one authority, and the registry that they have in common.
type fleet struct {
	t         *testing.T
	authority *identity.Authority
	backend   backend
	open      open
	// bare is the registry itself, for those who attack it.
	bare registry.Registry
}

// newFleet has go-micro's memory registry.
func newFleet(t *testing.T) *fleet { return fleetOver(t, memory) }

func fleetOver(t *testing.T, b backend) *fleet {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	must(t, err)
	f := &fleet{t: t, authority: a, backend: b, open: b.start(t, a)}
	f.bare = f.open(f.issue("attacker"))
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) issue(service string, opts ...identity.IssueOption) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service, opts...)
	must(f.t, err)
	f.t.Cleanup(func() { _ = id.Close() })
	return id
}

// as says how a member differs from others.
type as struct {
	signed []registry.Option
	quic   []transport.Option
}

// member is what a process has: one identity for its registry and its transport.
type member struct {
	t         *testing.T
	id        *identity.Identity
	registry  registry.Registry // signed
	transport transport.Transport
	refused   *rejections
}

// join makes a member of an identity.
func (f *fleet) join(id *identity.Identity, how ...as) *member {
	f.t.Helper()
	m := &member{t: f.t, id: id, refused: new(rejections)}
	so := []registry.Option{signed.Wrap(f.open(id)), signed.Identity(id), signed.OnReject(m.refused.add)}
	to := []transport.Option{quic.Identity(id)}
	for _, h := range how {
		so, to = append(so, h.signed...), append(to, h.quic...)
	}
	m.registry, m.transport = signed.NewRegistry(so...), quic.NewTransport(to...)
	f.t.Cleanup(func() { must(f.t, m.registry.(io.Closer).Close()) })
	f.t.Cleanup(func() { must(f.t, m.transport.(io.Closer).Close()) })
	return m
}

// rejections collects what a member's registry refuses.
type rejections struct {
	mu  sync.Mutex
	all []signed.Rejection
}

func (r *rejections) add(j signed.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, j)
}

// of reports whether a node was refused for a reason.
func (r *rejections) of(node string, reason signed.Reason) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.all {
		if j.Node == node && j.Reason == reason && !j.Passed {
			return true
		}
	}
	return false
}

// service is a running go-micro server.
type service struct {
	*member
	server  server.Server
	handler *Greeter
	address string
	node    string // its id in the registry
}

// spec says what runs.
type spec struct {
	name     string // default: greeter
	node     string // what follows the name in the node id; default: 1
	address  string // default: any port of the loopback interface
	registry registry.Registry
	handlers []any // besides Greeter
}

// serve starts a go-micro server.
func (m *member) serve(s spec) *service {
	m.t.Helper()
	setDefault(&s.name, "greeter")
	setDefault(&s.node, "1")
	setDefault(&s.address, anyPort)
	if s.registry == nil {
		s.registry = m.registry
	}
	srv := server.NewServer(
		server.Name(s.name),
		server.Id(s.node),
		server.Version("v1"),
		server.Address(s.address),
		server.Registry(s.registry),
		server.Transport(m.transport),
		server.Broker(broker.NewMemoryBroker()),
		server.RegisterTTL(10*time.Minute),
		server.RegisterInterval(5*time.Minute),
		server.WithLogger(quiet),
	)
	g := &Greeter{}
	for _, h := range append([]any{g}, s.handlers...) {
		must(m.t, srv.Handle(srv.NewHandler(h)))
	}
	must(m.t, srv.Start())
	m.t.Cleanup(func() { _ = srv.Stop() }) // it may have been stopped
	return &service{m, srv, g, srv.Options().Address, s.name + "-" + s.node}
}

func setDefault(v *string, d string) {
	if *v == "" {
		*v = d
	}
}

// quiet keeps go-micro's servers from telling the story of each test.
var quiet = logger.NewLogger(logger.WithLevel(logger.FatalLevel))

// stop ends a service as it should end.
func (s *service) stop() {
	s.t.Helper()
	must(s.t, s.server.Stop())
	must(s.t, s.transport.(io.Closer).Close())
}

// crash ends a service that has no time to deregister.
func (s *service) crash() {
	s.t.Helper()
	must(s.t, s.registry.(io.Closer).Close()) // it signs no more
	must(s.t, s.transport.(io.Closer).Close())
}

// Request is what a Greeter is asked.
type Request struct{ Name string }

// Response is its answer.
type Response struct{ Greeting string }

// Greeter is a handler that counts.
type Greeter struct{ calls atomic.Int64 }

// Hello answers a call.
func (g *Greeter) Hello(_ context.Context, req *Request, rsp *Response) error {
	g.calls.Add(1)
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// caller is a go-micro client whose selector caches what the registry says.
type caller struct {
	*member
	client  client.Client
	watches *watchCounter
}

// watchCounter tells when go-micro's cache has begun to watch: it does so a moment
// after its first lookup, and misses what happens between the two.
type watchCounter struct {
	registry.Registry
	begun atomic.Int64
}

func (w *watchCounter) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	watcher, err := w.Registry.Watch(opts...)
	if err == nil {
		w.begun.Add(1)
	}
	return watcher, err
}

// caller makes a client that does not try again what has failed.
func (m *member) caller() *caller {
	m.t.Helper()
	watches := &watchCounter{Registry: m.registry}
	sel := selector.NewSelector(selector.Registry(watches))
	var calls sync.WaitGroup
	c := client.NewClient(
		client.Selector(sel),
		client.Registry(watches),
		client.Transport(m.transport),
		client.Broker(broker.NewMemoryBroker()),
		client.Retries(0),
		client.RequestTimeout(patience),
		client.DialTimeout(patience),
		client.WrapCall(counting(&calls)),
	)
	m.t.Cleanup(func() { must(m.t, sel.Close()) })
	m.t.Cleanup(func() {
		// The client has no Close. With another pool size it closes the sockets
		// that it keeps, but not beside a call, which may outlive its caller.
		calls.Wait()
		must(m.t, c.Init(client.PoolSize(1)))
	})
	return &caller{m, c, watches}
}

// counting counts the calls under way.
func counting(calls *sync.WaitGroup) client.CallWrapper {
	return func(call client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			calls.Add(1)
			defer calls.Done()
			return call(ctx, node, req, rsp, opts)
		}
	}
}

// hello calls greeter, wherever the registry says that it is.
func (c *caller) hello(opts ...client.CallOption) error {
	return c.call("greeter", "Greeter.Hello", opts...)
}

func (c *caller) call(service, endpoint string, opts ...client.CallOption) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var rsp Response
	err := c.client.Call(ctx, c.client.NewRequest(service, endpoint, &Request{"John"}), &rsp, opts...)
	if err != nil {
		return detail(err) // rsp may still be written to
	}
	if rsp.Greeting != "Hello John" {
		return errors.New("the answer is " + rsp.Greeting)
	}
	return nil
}

// detail takes the text out of go-micro's error, which prints as JSON.
func detail(err error) error {
	if parsed := merrors.Parse(err.Error()); parsed.Detail != "" {
		return errors.New(parsed.Detail)
	}
	return err
}

// mustHello makes one call that must reach s, and waits until changes of the
// registry are seen.
func (c *caller) mustHello(s *service) {
	c.t.Helper()
	before := s.handler.calls.Load()
	must(c.t, c.hello())
	if s.handler.calls.Load() == before {
		c.t.Errorf("the call has not reached %s", s.node)
	}
	eventually(c.t, "the registry is watched", func() bool { return c.watches.begun.Load() > 0 })
}
