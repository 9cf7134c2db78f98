package signed_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, slices.Concat(leaktest.Selector(), leaktest.Memory(),
		[]string{"go-micro.dev/v4/server.(*rpcServer).ServeConn"})...)
}

// fleet is an authority and what it issues.
type fleet struct {
	t         testing.TB
	authority *identity.Authority
}

func newFleet(t testing.TB) *fleet { return newFleetOf(t, "shop.internal") }

func newFleetOf(t testing.TB, domain string) *fleet {
	t.Helper()
	a, err := identity.NewAuthority(domain)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{t, a}
}

func (f *fleet) issue(service string, opts ...identity.IssueOption) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = id.Close() })
	return id
}

func (f *fleet) revoke(id *identity.Identity) {
	f.t.Helper()
	if err := f.authority.Revoke(id); err != nil {
		f.t.Fatal(err)
	}
}

// registry makes a signed registry for a service of the fleet, around inner.
func (f *fleet) registry(service string, inner registry.Registry, opts ...registry.Option) registry.Registry {
	f.t.Helper()
	return wrap(f.t, inner, f.issue(service), opts...)
}

// wrap makes a signed registry that is closed at the end of the test.
func wrap(t testing.TB, inner registry.Registry, id *identity.Identity, opts ...registry.Option) registry.Registry {
	t.Helper()
	opts = append([]registry.Option{signed.Wrap(inner), signed.Identity(id), registry.Logger(quiet)}, opts...)
	r := signed.NewRegistry(opts...)
	t.Cleanup(func() {
		if err := r.(io.Closer).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// quiet says nothing. go-micro's logger prints to stdout, whatever its output is.
var quiet = logger.NewLogger(logger.WithLevel(logger.FatalLevel))

func newMemory() registry.Registry { return registry.NewMemoryRegistry(registry.Logger(quiet)) }

// greeter returns a service with some endpoints, metadata and nodes: "a", "b", ….
func greeter(nodes ...*registry.Node) *registry.Service { return serviceOf("greeter", nodes...) }

func serviceOf(name string, nodes ...*registry.Node) *registry.Service {
	return &registry.Service{
		Name:     name,
		Version:  "1.2.3",
		Metadata: map[string]string{"team": "front"},
		Endpoints: []*registry.Endpoint{{
			Name:     "Greeter.Hello",
			Request:  &registry.Value{Name: "HelloRequest", Type: "HelloRequest", Values: []*registry.Value{{Name: "name", Type: "string"}}},
			Response: &registry.Value{Name: "HelloResponse", Type: "HelloResponse"},
			Metadata: map[string]string{"stream": "false"},
		}},
		Nodes: nodes,
	}
}

func node(id, address string) *registry.Node {
	return &registry.Node{Id: id, Address: address, Metadata: map[string]string{"protocol": "mucp", "server": "mucp", "region": "eu-1"}}
}

func mustRegister(t testing.TB, r registry.Registry, s *registry.Service, opts ...registry.RegisterOption) {
	t.Helper()
	if err := r.Register(s, opts...); err != nil {
		t.Fatalf("Register: %v", err)
	}
}

func mustGet(t testing.TB, r registry.Registry, name string) []*registry.Service {
	t.Helper()
	services, err := r.GetService(name)
	if err != nil {
		t.Fatalf("GetService: %v", err)
	}
	return services
}

// found lists the nodes that a registry returns, as "id@address", sorted.
func found(t testing.TB, r registry.Registry, name string) []string {
	t.Helper()
	return nodesOf(mustGet(t, r, name))
}

func nodesOf(services []*registry.Service) []string {
	var out []string
	for _, s := range services {
		for _, n := range s.Nodes {
			out = append(out, n.Id+"@"+n.Address)
		}
	}
	slices.Sort(out)
	return out
}

// wantNodes compares found with what it should be.
func wantNodes(t testing.TB, r registry.Registry, name string, want ...string) {
	t.Helper()
	if got := found(t, r, name); !slices.Equal(got, want) {
		t.Errorf("GetService(%q): got nodes %v, want %v", name, got, want)
	}
}

// rejections keeps what OnReject was told.
type rejections struct {
	mu  sync.Mutex
	all []signed.Rejection
}

func (r *rejections) hook() registry.Option {
	return signed.OnReject(func(j signed.Rejection) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, j)
	})
}

// take returns what there is, and begins anew.
func (r *rejections) take() []signed.Rejection {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.all
	r.all = nil
	return out
}

// reasons returns the reasons of what there is, sorted, and begins anew.
func (r *rejections) reasons() []signed.Reason {
	var out []signed.Reason
	for _, j := range r.take() {
		out = append(out, j.Reason)
	}
	slices.Sort(out)
	return out
}

func (r *rejections) want(t testing.TB, want ...signed.Reason) {
	t.Helper()
	slices.Sort(want)
	all := r.take()
	var got []signed.Reason
	var said strings.Builder
	for _, j := range all {
		got = append(got, j.Reason)
		fmt.Fprintf(&said, "\n\t%s: %v", j.Reason, j.Err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("rejections: got %v, want %v%s", got, want, said.String())
	}
}

// eventually polls for what another goroutine brings about.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20s: %s", what)
		}
	}
}

// testLogger keeps what is logged, so that tests can look at it.
type testLogger struct {
	logger.Logger
	mu    sync.Mutex
	lines []string
}

func newTestLogger() *testLogger { return &testLogger{Logger: quiet} }

func (l *testLogger) Logf(_ logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// logged returns the lines that contain s.
func (l *testLogger) logged(s string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, s) {
			lines = append(lines, line)
		}
	}
	return lines
}
