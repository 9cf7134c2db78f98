package registry

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"github.com/google/uuid"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

const service = "greeter"

// counts are how many nodes a lookup finds.
var counts = [...]int{1, 100, 1000}

// fleet is who registers and who looks up.
type fleet struct {
	authority *identity.Authority
	reader    *identity.Identity
	shared    *identity.Identity // of all replicas, where they share a certificate
}

func newFleet(tb testing.TB) *fleet {
	tb.Helper()
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		tb.Fatal(err)
	}
	f := &fleet{authority: authority}
	f.reader, f.shared = f.issue(tb, "caller"), f.issue(tb, service)
	return f
}

func (f *fleet) issue(tb testing.TB, name string) *identity.Identity {
	tb.Helper()
	id, err := f.authority.Issue(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { id.Close() })
	return id
}

// signed wraps a registry for an identity.
func (f *fleet) signed(tb testing.TB, inner registry.Registry, id *identity.Identity, opts ...registry.Option) registry.Registry {
	tb.Helper()
	r := signed.NewRegistry(append(opts, signed.Wrap(inner), signed.Identity(id), registry.Logger(quiet()))...)
	tb.Cleanup(func() { r.(io.Closer).Close() })
	return r
}

// registration is one replica of the service, as go-micro's server registers it.
func registration(n int) *registry.Service {
	value := func(name string) *registry.Value {
		return &registry.Value{Name: name, Type: name, Values: []*registry.Value{{Name: "name", Type: "string"}}}
	}
	s := &registry.Service{Name: service, Version: "1.4.2"}
	for _, method := range []string{"Hello", "Goodbye", "Chat"} {
		s.Endpoints = append(s.Endpoints, &registry.Endpoint{
			Name: "Greeter." + method, Request: value("Request"), Response: value("Response"),
			Metadata: map[string]string{"stream": "true"},
		})
	}
	s.Nodes = []*registry.Node{{
		Id:      service + "-" + uuid.NewString(),
		Address: fmt.Sprintf("10.%d.%d.%d:7443", n>>16&255, n>>8&255, n&255),
		Metadata: map[string]string{
			"broker": "nats", "protocol": "mucp", "registry": "etcd", "server": "mucp", "transport": "quic", "zone": "eu-1",
		},
	}}
	return s
}

// fill registers replicas, signed by each of the identities in turn, or by none.
// Every stand of the inner registry stays as it is from then on.
func (f *fleet) fill(tb testing.TB, inner registry.Registry, replicas int, signers []*identity.Identity, opts ...registry.Option) {
	tb.Helper()
	for n := range replicas {
		r := inner
		if len(signers) > 0 {
			r = f.signed(tb, inner, signers[n%len(signers)], opts...)
		}
		if err := r.Register(registration(n)); err != nil {
			tb.Fatal(err)
		}
	}
}

// spoil registers junk that looks like the real thing: nodes whose record is of
// another node.
func spoil(tb testing.TB, inner registry.Registry, n int) {
	tb.Helper()
	services, err := inner.GetService(service)
	if err != nil {
		tb.Fatal(err)
	}
	record := services[0].Nodes[0].Metadata
	junk := registration(0)
	junk.Nodes = nil
	for i := range n {
		s := registration(1<<20 + i)
		for key, value := range record {
			if strings.HasPrefix(key, "signet-") {
				s.Nodes[0].Metadata[key] = value
			}
		}
		junk.Nodes = append(junk.Nodes, s.Nodes[0])
	}
	if err := inner.Register(junk); err != nil {
		tb.Fatal(err)
	}
}

// lookup fails unless it finds so many nodes.
func lookup(tb testing.TB, r registry.Registry, nodes int) {
	services, err := r.GetService(service)
	found := 0
	for _, s := range services {
		found += len(s.Nodes)
	}
	if err != nil || found != nodes {
		tb.Fatalf("found %d nodes, want %d; error: %v", found, nodes, err)
	}
}

// quiet is a logger that says nothing: go-micro's writes among the results.
func quiet() logger.Logger { return logger.NewLogger(logger.WithLevel(logger.FatalLevel)) }
