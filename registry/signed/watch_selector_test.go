package signed_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
)

// warm returns go-micro's selector with a cache that outlasts every record, filled
// and watching.
func warm(t *testing.T, reader registry.Registry, service string) selector.Selector {
	t.Helper()
	forever := func(o *selector.Options) {
		//lint:ignore SA1029 the key is go-micro's
		o.Context = context.WithValue(context.Background(), "selector_ttl", 48*time.Hour)
	}
	s := selector.NewSelector(selector.Registry(reader), forever)
	t.Cleanup(func() { _ = s.Close() })
	mustSelect(t, s, service)
	return s
}

func mustSelect(t *testing.T, s selector.Selector, service string) *registry.Node {
	t.Helper()
	next, err := s.Select(service)
	if err != nil {
		t.Fatalf("Select: %v", err)
	}
	node, err := next()
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return node
}

func TestExpiryWhileTheSelectorCacheIsWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		orphan(t, inner, f.issue("greeter"), greeter(node("short", addressA)))
		orphan(t, inner, f.issue("greeter"), greeter(node("long", addressB)), signed.Validity(time.Hour))
		s := warm(t, reader, "greeter")
		sleep(time.Minute) // it watches
		inner.fail(errDown)
		sleep(signed.DefaultValidity)
		for range 50 {
			if n := mustSelect(t, s, "greeter"); n.Id != "long" {
				t.Fatalf("node %s is selected, whose record has ended", n.Id)
			}
		}
		inner.fail(nil)
		sleep(time.Hour)
		if _, err := s.Select("greeter"); !errors.Is(err, selector.ErrNotFound) {
			t.Errorf("Select of a service whose records have ended: %v, want not found", err)
		}
	})
}

func TestSelectorDoesNotFindWhatIsRevoked(t *testing.T) {
	inner, f := newMemory(), newFleet(t)
	id := f.issue("greeter")
	reader := f.registry("reader", inner)
	mustRegister(t, wrap(t, inner, id), greeter(node("a", addressA), node("b", addressB)))
	s := warm(t, reader, "greeter")
	eventually(t, "the cache's watch", func() bool { return signed.Watchers(reader) > 0 })
	f.revoke(id)
	eventually(t, "not found", func() bool {
		_, err := s.Select("greeter")
		return errors.Is(err, selector.ErrNotFound)
	})
	wantNodes(t, reader, "greeter")
}

// Probe is a handler; go-micro wants it exported.
type Probe struct{}

func (Probe) Echo(_ context.Context, in, out *string) error { *out = *in; return nil }

// A service that dies without a word is called as long as its record lasts, by a
// client of go-micro with all that is usual, and not a moment longer.
func TestNoCallReachesWhatHasExpired(t *testing.T) {
	inner, f := newMemory(), newFleet(t)
	const lasts = 4 * time.Second
	id := f.issue("greeter", identity.ValidFor(lasts))
	ends := time.Now().Add(lasts)
	reader := f.registry("reader", inner)
	served := server.NewServer(
		server.Name("greeter"), server.Id("1"), server.Address("127.0.0.1:0"),
		server.Registry(wrap(t, inner, id)), server.Broker(broker.NewMemoryBroker()), server.WithLogger(quiet),
	)
	if err := served.Handle(served.NewHandler(Probe{})); err != nil {
		t.Fatal(err)
	}
	if err := served.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = served.Stop() })
	c := client.NewClient(client.Registry(reader), client.Selector(warm(t, reader, "greeter")), client.Retries(0), client.WithLogger(quiet))
	call := func() error {
		in, out := "hello", ""
		return c.Call(t.Context(), c.NewRequest("greeter", "Probe.Echo", &in, client.WithContentType("application/json")), &out)
	}
	if err := call(); err != nil {
		t.Fatalf("a call before the end: %v", err)
	}
	eventually(t, "the cache's watch", func() bool { return signed.Watchers(reader) > 0 })
	eventually(t, "calls fail", func() bool { return call() != nil })
	if early := time.Until(ends); early > 2*time.Second {
		t.Errorf("calls fail %v before the record ends", early)
	}
	if err := call(); err == nil {
		t.Error("a call reaches it again")
	}
}
