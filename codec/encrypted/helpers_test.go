package encrypted_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
)

// patience bounds what is waited for.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	leaktest.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func authority(t testing.TB) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	must(t, err)
	return a
}

func issue(t testing.TB, a *identity.Authority, service string, opts ...identity.IssueOption) *identity.Identity {
	t.Helper()
	id, err := a.Issue(service, opts...)
	must(t, err)
	t.Cleanup(func() { _ = id.Close() })
	return id
}

// meet enters the card of one in the directory of another.
func meet(t testing.TB, who, whom *identity.Identity) {
	t.Helper()
	card, err := whom.Card()
	must(t, err)
	must(t, who.AddCard(card))
}

// rejections collects what is refused.
type rejections struct {
	mu  sync.Mutex
	all []encrypted.Rejection
}

func (r *rejections) add(j encrypted.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, j)
}

// take returns the reasons so far, and forgets them.
func (r *rejections) take() (reasons []encrypted.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.all {
		reasons = append(reasons, j.Reason)
	}
	r.all = nil
	return reasons
}

// service is a running go-micro server.
type service struct {
	of       *identity.Authority // of a pair
	id       *identity.Identity
	server   server.Server
	handler  *Greeter
	address  string
	rejected *rejections
	before   func(server.Server) // before it starts; may be nil
}

// repaired gives the server the request ID under the key it looks for: net/http turns
// Micro-ID into Micro-Id, and a request that comes before the one before it on the same
// connection is done with gets lost.
type repaired struct{ transport.Transport }

type repairedListener struct{ transport.Listener }

type repairedSocket struct{ transport.Socket }

func (r repaired) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	l, err := r.Transport.Listen(addr, opts...)
	if err != nil {
		return nil, err
	}
	return repairedListener{l}, nil
}

func (r repairedListener) Accept(f func(transport.Socket)) error {
	return r.Listener.Accept(func(s transport.Socket) { f(repairedSocket{s}) })
}

func (r repairedSocket) Recv(m *transport.Message) error {
	if err := r.Socket.Recv(m); err != nil {
		return err
	}
	if id, ok := m.Header["Micro-Id"]; ok {
		m.Header["Micro-ID"] = id
	}
	return nil
}

func quiet() logger.Logger {
	return logger.NewLogger(logger.WithLevel(logger.FatalLevel), logger.WithOutput(io.Discard))
}

// serve starts a go-micro server over http that takes what is encrypted.
func serve(t testing.TB, id *identity.Identity, opts ...encrypted.Option) *service {
	t.Helper()
	s := &service{id: id, handler: new(Greeter), rejected: new(rejections)}
	opts = append([]encrypted.Option{encrypted.OnReject(s.rejected.add), encrypted.Logger(quiet())}, opts...)
	s.start(t, encrypted.ServerOptions(id, opts...)...)
	return s
}

func (s *service) start(t testing.TB, opts ...server.Option) {
	t.Helper()
	s.server = server.NewServer(append([]server.Option{
		server.Name("greeter"), server.Address("127.0.0.1:0"),
		server.Transport(repaired{transport.NewHTTPTransport(transport.Logger(quiet()))}),
		server.Registry(registry.NewMemoryRegistry()), server.Broker(broker.NewMemoryBroker()),
		server.RegisterInterval(0), server.WithLogger(quiet()),
	}, opts...)...)
	must(t, s.server.Handle(s.server.NewHandler(s.handler)))
	if s.before != nil {
		s.before(s.server)
	}
	must(t, s.server.Start())
	t.Cleanup(func() { _ = s.server.Stop() })
	s.address = s.server.Options().Address
}

// caller is a go-micro client.
type caller struct {
	client.Client
	id       *identity.Identity
	rejected *rejections
}

func newCaller(t testing.TB, id *identity.Identity, opts ...encrypted.Option) *caller {
	t.Helper()
	c := &caller{id: id, rejected: new(rejections)}
	opts = append([]encrypted.Option{encrypted.OnReject(c.rejected.add), encrypted.Logger(quiet())}, opts...)
	c.Client = newClient(t, encrypted.ClientOptions(id, opts...)...)
	return c
}

func newClient(t testing.TB, opts ...client.Option) client.Client {
	t.Helper()
	var calls sync.WaitGroup
	c := client.NewClient(append([]client.Option{
		client.Transport(transport.NewHTTPTransport(transport.Logger(quiet()))), client.Broker(broker.NewMemoryBroker()),
		client.Registry(registry.NewMemoryRegistry()),
		client.Retries(0), client.RequestTimeout(patience), client.DialTimeout(patience), client.WithLogger(quiet()),
		func(o *client.Options) { o.CallOptions.ConnectionTimeout = patience },
		client.WrapCall(func(call client.CallFunc) client.CallFunc {
			return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
				calls.Add(1)
				defer calls.Done()
				return call(ctx, node, req, rsp, opts)
			}
		}),
	}, opts...)...)
	t.Cleanup(func() {
		calls.Wait() // which may outlive their callers
		must(t, c.Init(client.PoolSize(0)))
	})
	return c
}

func (c *caller) hello(ctx context.Context, address, name string, opts ...client.RequestOption) (string, error) {
	var rsp Response
	err := c.Call(ctx, c.NewRequest("greeter", "Greeter.Hello", &Request{Name: name}, opts...), &rsp, client.WithAddress(address))
	return rsp.Greeting, err
}

// works makes one call that must succeed.
func (c *caller) works(t testing.TB, address string) {
	t.Helper()
	if got, err := c.hello(t.Context(), address, "John"); err != nil || got != "Hello John" {
		t.Errorf("a good call was answered with %q, error: %v", got, err)
	}
}

// pair is a service and a caller that know each other.
func pair(t testing.TB, opts ...encrypted.Option) (*service, *caller) {
	t.Helper()
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"), opts...)
	s.of = a
	c := newCaller(t, issue(t, a, "web"), opts...)
	meet(t, c.id, s.id)
	return s, c
}

// Request is what a Greeter is asked.
type Request struct{ Name string }

// Response is its answer.
type Response struct{ Greeting string }

// message is an HTTP request or response on its way.
type message struct {
	header http.Header
	body   []byte
}

func (m *message) clone() *message { return &message{m.header.Clone(), bytes.Clone(m.body)} }

// proxy stands between client and server. What it does to messages is for a test to
// say; each direction is on its own, as go-micro's streams need it.
type proxy struct {
	l       net.Listener
	target  atomic.Pointer[string]
	next    atomic.Pointer[func() string] // the target of each connection; nil for that one
	wg      sync.WaitGroup
	address string

	mu       sync.Mutex
	conns    []net.Conn
	forth    func(*message) []*message
	back     func(*message) []*message
	recorded bytes.Buffer
	requests []*message
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{l: l, address: l.Addr().String()}
	p.target.Store(&target)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	_ = p.l.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// does sets what is done to messages; nil passes them on.
func (p *proxy) does(forth, back func(*message) []*message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forth, p.back = forth, back
}

func (p *proxy) accept() {
	for {
		front, err := p.l.Accept()
		if err != nil {
			return
		}
		target := *p.target.Load()
		if next := p.next.Load(); next != nil {
			target = (*next)()
		}
		back, err := net.Dial("tcp", target)
		if err != nil {
			_ = front.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, front, back)
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(front, back, true) })
		p.wg.Go(func() { p.pump(back, front, false) })
	}
}

func (p *proxy) pump(from, to net.Conn, forth bool) {
	defer from.Close()
	defer to.Close()
	r := bufio.NewReader(from)
	for {
		m, err := readMessage(r, forth)
		if err != nil {
			return
		}
		p.mu.Lock()
		for name, values := range m.header {
			fmt.Fprintf(&p.recorded, "%s: %q\n", name, values)
		}
		p.recorded.Write(m.body)
		f := p.back
		if forth {
			f = p.forth
			p.requests = append(p.requests, m.clone())
		}
		p.mu.Unlock()
		all := []*message{m}
		if f != nil {
			all = f(m)
		}
		for _, m := range all {
			if writeMessage(to, m, forth) != nil {
				return
			}
		}
	}
}

func readMessage(r *bufio.Reader, request bool) (*message, error) {
	if request {
		req, err := http.ReadRequest(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(req.Body)
		return &message{req.Header, body}, err
	}
	rsp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(rsp.Body)
	return &message{rsp.Header, body}, err
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

func writeMessage(w io.Writer, m *message, request bool) error {
	var b bytes.Buffer
	first := "HTTP/1.1 200 OK\r\n"
	if request {
		first = "POST / HTTP/1.1\r\nHost: service\r\n"
	}
	b.WriteString(first)
	m.header.Del("Content-Length")
	_ = m.header.Write(&b)
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(m.body))
	b.Write(m.body)
	_, err := w.Write(b.Bytes())
	return err
}

// wire is what has passed.
func (p *proxy) wire() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.recorded.Bytes())
}

// last is the latest request that has passed.
func (p *proxy) last() *message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[len(p.requests)-1].clone()
}
