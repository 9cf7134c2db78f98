package transporttest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// fleet is a service and a client of it, in one process and on one transport.
type fleet struct {
	*env
	micro.Service
	probe *Probe
	// dials counts the connections that were asked for.
	dials *atomic.Int64
	// left is closed when the service has left the registry.
	left <-chan struct{}
	log  *errorLog
}

// fleet starts a service on any port.
func (e *env) fleet(opts ...micro.Option) *fleet {
	e.Helper()
	return e.service(nil, opts...).start()
}

func (f *fleet) start() *fleet {
	f.Helper()
	if err := f.Server().Start(); err != nil {
		f.Fatalf("Start: %v", err)
	}
	return f
}

// service makes a service with go-micro's options, so that they meet the
// transport as an application's would. It is stopped when the check ends.
func (e *env) service(forServer []server.Option, opts ...micro.Option) *fleet {
	e.Helper()
	reg := newBooks()
	sel := selector.NewSelector(selector.Registry(reg), uncached)
	tr := &counted{Transport: e.tr}
	log := new(errorLog)
	f := &fleet{env: e, probe: newProbe(), dials: &tr.dials, left: reg.left, log: log}
	var calls sync.RWMutex
	cli := client.NewClient(
		client.WrapCall(tracked(&calls)),
		client.PoolSize(e.poolSize()),
		client.Selector(sel),
		client.WithLogger(log),
		client.Retries(0),
		client.RequestTimeout(e.patience),
		connectionTimeout(e.patience),
	)
	f.Service = micro.NewService(append([]micro.Option{
		micro.Server(server.NewServer(append(forServer, server.WithLogger(log))...)),
		micro.Client(cli),
		micro.HandleSignal(false),
		micro.Logger(log),
		micro.Broker(&steady{Broker: broker.NewMemoryBroker()}),
		micro.Registry(reg),
		micro.Transport(tr),
		micro.Name(Service),
		micro.Address(anyPort),
	}, opts...)...)
	if err := micro.RegisterHandler(f.Server(), f.probe); err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		f.probe.release()
		// A call whose request has timed out goes on without its caller. It
		// uses the pool, which Init replaces without a lock that it would take.
		if err := e.finish("calls without a caller", func() error { calls.Lock(); defer calls.Unlock(); return nil }); err != nil {
			e.Error(err)
		}
		// Another pool size closes the pool; the client has no Close.
		if err := e.finish("Init of the client", func() error {
			return cli.Init(client.PoolSize(1))
		}); err != nil {
			e.Errorf("Init of the client: %v", err)
		}
		if err := e.finish("Stop", f.Server().Stop); err != nil {
			e.Errorf("Stop: %v", err)
		}
		if err := sel.Close(); err != nil {
			e.Error(err)
		}
	})
	return f
}

// poolSize is go-micro's own unless calls on a used connection get lost.
func (e *env) poolSize() int {
	if _, off := e.caps.Off[PooledCalls]; off {
		return 0
	}
	return client.DefaultPoolSize
}

// tracked holds a read lock for each call under way.
func tracked(calls *sync.RWMutex) client.CallWrapper {
	return func(call client.CallFunc) client.CallFunc {
		return func(ctx context.Context, node *registry.Node, req client.Request, rsp any, opts client.CallOptions) error {
			calls.RLock()
			defer calls.RUnlock()
			return call(ctx, node, req, rsp, opts)
		}
	}
}

// uncached makes a selector ask the registry for every call, so that it never
// knows less than the check. The key is go-micro's, a plain string.
func uncached(o *selector.Options) {
	o.Context = context.WithValue(context.Background(), "selector_ttl", time.Duration(0))
}

// connectionTimeout bounds one attempt of each call; go-micro has a field for
// it, and no option.
func connectionTimeout(d time.Duration) client.Option {
	return func(o *client.Options) { o.CallOptions.ConnectionTimeout = d }
}

// callTimeout is connectionTimeout for one call.
func callTimeout(d time.Duration) client.CallOption {
	return func(o *client.CallOptions) { o.ConnectionTimeout = d }
}

// call calls a method of the probe.
func (f *fleet) call(method string, in, out any, opts ...client.CallOption) error {
	req := f.Client().NewRequest(Service, "Probe."+method, in)
	return f.within(method, func() error {
		return f.Client().Call(f.Context(), req, out, opts...)
	})
}

// works makes one call and compares the answer.
func (f *fleet) works(text string, opts ...client.CallOption) error {
	return f.answers("Echo", text, opts...)
}

// answers makes one call of a method that echoes.
func (f *fleet) answers(method, text string, opts ...client.CallOption) error {
	var got string
	if err := f.call(method, &text, &got, opts...); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if got != text {
		return fmt.Errorf("%s(%.40q) was answered with %.40q", method, text, got)
	}
	return nil
}

// address is where the service listens.
func (f *fleet) address() string { return f.Server().Options().Address }

// counted counts the dials of a transport.
type counted struct {
	transport.Transport
	dials atomic.Int64
}

func (c *counted) Dial(addr string, opts ...transport.DialOption) (transport.Client, error) {
	c.dials.Add(1)
	return c.Transport.Dial(addr, opts...)
}

// errorLog keeps what go-micro logs as an error.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *errorLog) Init(...logger.Option) error         { return nil }
func (l *errorLog) Options() logger.Options             { return logger.Options{} }
func (l *errorLog) Fields(map[string]any) logger.Logger { return l }
func (l *errorLog) String() string                      { return "errors" }
func (l *errorLog) Log(level logger.Level, v ...any)    { l.add(level, fmt.Sprint(v...)) }
func (l *errorLog) Logf(level logger.Level, format string, v ...any) {
	l.add(level, fmt.Sprintf(format, v...))
}

func (l *errorLog) add(level logger.Level, line string) {
	if level < logger.ErrorLevel {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *errorLog) errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

// steady is a broker that can be asked for its address while it connects. A go-micro
// server does so when it starts again: the goroutine that had registered it may say only
// now from which broker it disconnects, and the memory broker has no lock there.
type steady struct {
	broker.Broker
	mu sync.Mutex
}

func (s *steady) Connect() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Broker.Connect()
}

func (s *steady) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Broker.Address()
}
