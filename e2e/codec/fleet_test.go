package codec_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"github.com/go-signet/signet/transport/quic"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fleet is the services of one authority, the registry that they have in common, and
// what carries their calls.
type fleet struct {
	t         *testing.T
	authority *identity.Authority
	bare      registry.Registry
	carrier   string
}

func newFleet(t *testing.T, carrier string) *fleet {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	must(t, err)
	return &fleet{t, a, registry.NewMemoryRegistry(), carrier}
}

func (f *fleet) issue(service string) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service)
	must(f.t, err)
	f.t.Cleanup(func() { _ = id.Close() })
	return id
}

func quiet() logger.Logger {
	return logger.NewLogger(logger.WithLevel(logger.FatalLevel), logger.WithOutput(io.Discard))
}

func (f *fleet) registry(id *identity.Identity) registry.Registry {
	f.t.Helper()
	r := signed.NewRegistry(signed.Wrap(f.bare), signed.Identity(id), registry.Logger(quiet()))
	f.t.Cleanup(func() { must(f.t, r.(io.Closer).Close()) })
	return r
}

func (f *fleet) transport(id *identity.Identity) transport.Transport {
	if f.carrier == "http" {
		return repaired{transport.NewHTTPTransport(transport.Logger(quiet()))}
	}
	tr := quic.NewTransport(quic.Identity(id), transport.Logger(quiet()))
	f.t.Cleanup(func() { must(f.t, tr.(io.Closer).Close()) })
	return tr
}

// replica is a running go-micro server.
type replica struct {
	id      *identity.Identity
	server  server.Server
	handler *Greeter
}

func (f *fleet) serve(id *identity.Identity) *replica {
	f.t.Helper()
	return f.serveAt(id, "127.0.0.1:0", f.registry(id))
}

func (f *fleet) serveAt(id *identity.Identity, address string, reg registry.Registry) *replica {
	f.t.Helper()
	r := &replica{id: id, handler: &Greeter{entered: make(chan struct{}, 1), leave: make(chan struct{})}}
	r.server = server.NewServer(append(encrypted.ServerOptions(id, encrypted.Logger(quiet())),
		server.Name("greeter"), server.Id(rand.Text()), server.Address(address), server.Transport(f.transport(id)), server.Registry(reg),
		server.Broker(broker.NewMemoryBroker()), server.RegisterInterval(time.Minute), server.RegisterTTL(10*time.Minute), server.WithLogger(quiet()))...)
	must(f.t, r.server.Handle(r.server.NewHandler(r.handler)))
	must(f.t, r.server.Start())
	f.t.Cleanup(func() { _ = r.server.Stop() }) // it may have been stopped
	return r
}

// caller is a go-micro client that finds services, and their keys, in the registry.
type caller struct {
	client.Client
	t *testing.T
}

func (f *fleet) caller(id *identity.Identity) *caller {
	f.t.Helper()
	// Each call asks the registry, so that it knows no less than the test.
	uncached := func(o *selector.Options) {
		//lint:ignore SA1029 go-micro's key is a plain string
		o.Context = context.WithValue(context.Background(), "selector_ttl", time.Duration(0))
	}
	sel := selector.NewSelector(selector.Registry(f.registry(id)), uncached)
	var calls sync.WaitGroup
	c := client.NewClient(append(encrypted.ClientOptions(id, encrypted.Logger(quiet())),
		client.Selector(sel), client.Transport(f.transport(id)), client.Broker(broker.NewMemoryBroker()),
		client.Retries(0), client.RequestTimeout(patience), client.DialTimeout(patience), client.WithLogger(quiet()),
		func(o *client.Options) { o.CallOptions.ConnectionTimeout = patience },
		client.WrapCall(func(call client.CallFunc) client.CallFunc {
			return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
				calls.Add(1)
				defer calls.Done()
				return call(ctx, node, req, rsp, opts)
			}
		}))...)
	f.t.Cleanup(func() { must(f.t, sel.Close()) })
	f.t.Cleanup(func() {
		calls.Wait()
		must(f.t, c.Init(client.PoolSize(0)))
	})
	return &caller{c, f.t}
}

func (c *caller) hello(method, name string, opts ...client.CallOption) error {
	var rsp Response
	if err := c.Call(c.t.Context(), c.NewRequest("greeter", "Greeter."+method, &Request{name}), &rsp, opts...); err != nil {
		return err
	}
	if rsp.Greeting != "Hello "+name {
		return fmt.Errorf("the answer is %q", rsp.Greeting)
	}
	return nil
}

// works makes so many calls, all of which must succeed.
func (c *caller) works(n int) {
	c.t.Helper()
	for i := range n {
		if err := c.hello("Hello", fmt.Sprint(i)); err != nil {
			c.t.Fatalf("call %d: %v", i, err)
		}
	}
}

// Request is what a Greeter is asked.
type Request struct{ Name string }

// Response is its answer.
type Response struct{ Greeting string }

// Greeter is a handler that counts.
type Greeter struct {
	calls          atomic.Int64
	entered, leave chan struct{}
}

// Hello answers a call.
func (g *Greeter) Hello(_ context.Context, req *Request, rsp *Response) error {
	g.calls.Add(1)
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// Wait answers a call when it is told to.
func (g *Greeter) Wait(ctx context.Context, req *Request, rsp *Response) error {
	g.entered <- struct{}{}
	select {
	case <-g.leave:
		return g.Hello(ctx, req, rsp)
	case <-ctx.Done():
		return errors.New("nobody has told it to")
	}
}

// repaired gives the server the request ID under the key it looks for: net/http turns
// Micro-ID into Micro-Id.
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
