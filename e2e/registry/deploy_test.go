package registry_test

import (
	"context"
	"slices"
	"testing"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
)

// TestRotation: greeter's certificate is replaced under load, twice, and no call
// fails.
func TestRotation(t *testing.T) {
	f := newFleet(t)
	dir := t.TempDir()
	renew := func() {
		t.Helper()
		must(t, f.issue("greeter").Save(dir))
	}
	renew()
	id, err := identity.Load(dir)
	must(t, err)
	t.Cleanup(func() { _ = id.Close() })
	greeter := f.join(id).serve(spec{})
	c := f.join(f.issue("caller")).caller()
	load := c.load()
	record := func() string {
		services, err := c.registry.GetService("greeter")
		must(t, err)
		if len(services) != 1 || len(services[0].Nodes) != 1 {
			return ""
		}
		return services[0].Nodes[0].Metadata["signet-0"]
	}
	for range 2 {
		was, leaf := record(), id.Peer().Certificate.SerialNumber
		renew()
		eventually(t, "the new certificate is in force", func() bool { return id.Peer().Certificate.SerialNumber.Cmp(leaf) != 0 })
		eventually(t, "the registration is signed with it", func() bool { now := record(); return now != "" && now != was })
		load.more(40)
	}
	load.noneFailed()
	if n := greeter.handler.calls.Load(); n < load.ok.Load() {
		t.Errorf("%d calls reached greeter, %d succeeded", n, load.ok.Load())
	}
}

// Waver is what a newer greeter handles besides.
type Waver struct{}

// Wave answers a call.
func (*Waver) Wave(_ context.Context, req *Request, rsp *Response) error {
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// TestRollingDeploy: two replicas of one version that differ in their endpoints are
// both called.
func TestRollingDeploy(t *testing.T) {
	f := newFleet(t)
	older := f.join(f.issue("greeter")).serve(spec{node: "1"})
	newer := f.join(f.issue("greeter")).serve(spec{node: "2", handlers: []any{new(Waver)}})
	c := f.join(f.issue("caller")).caller()
	load := c.load()
	eventually(t, "both are called", func() bool {
		return older.handler.calls.Load() > 10 && newer.handler.calls.Load() > 10
	})
	must(t, c.call("greeter", "Waver.Wave", client.WithSelectOption(selector.WithFilter(only(newer.node)))))
	load.noneFailed()
}

// TestRollingDeployEndpoints: what the registry says of such replicas is what both
// have, as far as it tells what each has.
func TestRollingDeployEndpoints(t *testing.T) {
	f := fleetOver(t, overEtcd)
	f.join(f.issue("greeter")).serve(spec{node: "1"})
	f.join(f.issue("greeter")).serve(spec{node: "2", handlers: []any{new(Waver)}})
	services, err := f.join(f.issue("caller")).registry.GetService("greeter")
	must(t, err)
	if len(services) != 1 || len(services[0].Nodes) != 2 {
		t.Fatalf("got %+v, want one service of two nodes", services)
	}
	var names []string
	for _, e := range services[0].Endpoints {
		names = append(names, e.Name)
	}
	if !slices.Equal(names, []string{"Greeter.Hello"}) {
		t.Errorf("endpoints %q, want Greeter.Hello alone", names)
	}
}

// only selects one node.
func only(id string) selector.Filter {
	return func(services []*registry.Service) []*registry.Service {
		for _, s := range services {
			s.Nodes = slices.DeleteFunc(s.Nodes, func(n *registry.Node) bool { return n.Id != id })
		}
		return services
	}
}
