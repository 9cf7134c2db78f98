package etcd_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/internal/pernode"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

func closeNow(t *testing.T, r registry.Registry) {
	t.Helper()
	within(t, long, "Close", func() {
		if err := r.(io.Closer).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestRegisterAndDeregister(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	for range 2 {
		register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
		_, lease, _ := key(t, c, greeterKey)
		if got := addressOf(r, "greeter"); got != "10.0.0.1:80" {
			t.Fatalf("registered: got %q", got)
		}
		deregister(t, r, node("greeter", "1", "10.0.0.1:80"))
		if _, err := r.GetService("greeter"); !errors.Is(err, registry.ErrNotFound) {
			t.Fatalf("deregistered: got %v, want %v", err, registry.ErrNotFound)
		}
		if left, err := c.TimeToLive(t.Context(), lease); err != nil || left.TTL > 0 {
			t.Errorf("the lease was not revoked: %v, %v", left, err)
		}
		deregister(t, r, node("greeter", "1", "10.0.0.1:80")) // again, to no effect
	}
}

// TestNothingComesBack deletes the key by hand just before Deregister or Close, when a
// repair is about to begin.
func TestNothingComesBack(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	for _, tt := range []struct {
		name string
		end  func(*testing.T, registry.Registry)
	}{
		{"Deregister", func(t *testing.T, r registry.Registry) { deregister(t, r, node("greeter", "1", "10.0.0.1:80")) }},
		{"Close", closeNow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 20 {
				r := inClear(t, []string{s.Addr()})
				register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
				if _, err := c.Delete(t.Context(), greeterKey); err != nil {
					t.Fatal(err)
				}
				tt.end(t, r)
				before, _, rev := key(t, c, greeterKey)
				closeNow(t, r)
				if after, _, now := key(t, c, greeterKey); after != before || now != rev {
					t.Fatalf("the record came back")
				}
				if tt.name == "Deregister" && before != "" {
					t.Fatal("the record is there after Deregister")
				}
				if _, err := c.Delete(t.Context(), greeterKey); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestUnchangedRecordIsNotWrittenAgain(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	_, lease, rev := key(t, c, greeterKey)
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	if _, _, now := key(t, c, greeterKey); now != rev {
		t.Errorf("revision %d became %d", rev, now)
	}
	register(t, r, node("greeter", "1", "10.0.0.2:80"), time.Minute)
	if got := addressOf(r, "greeter"); got != "10.0.0.2:80" {
		t.Errorf("a new address: got %q", got)
	}
	register(t, r, node("greeter", "1", "10.0.0.2:80"), 2*time.Minute)
	_, now, _ := key(t, c, greeterKey)
	if now == lease {
		t.Error("a new TTL did not change the lease")
	}
	if left, err := c.TimeToLive(t.Context(), lease); err != nil || left.TTL > 0 {
		t.Errorf("the lease of the old TTL was not revoked: %v, %v", left, err)
	}
}

// TestEtcdDown expects each call back within the timeout, and a reason.
func TestEtcdDown(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(*etcdtest.Server)
	}{
		{"refused", (*etcdtest.Server).Kill},
		{"silent", func(s *etcdtest.Server) { s.Proxy.Blackhole() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := etcdtest.Start(t)
			r := inClear(t, []string{s.Addr()}, registry.Timeout(500*time.Millisecond))
			register(t, inClear(t, []string{s.Addr()}), node("other", "1", "10.0.0.1:80"), time.Minute)
			register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
			tt.down(s)
			fails := func(what string, f func() error) {
				t.Helper()
				within(t, long/3, what, func() {
					if err := f(); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: got %v, want a deadline exceeded", what, err)
					}
				})
			}
			fails("first Register", func() error { return r.Register(node("greeter", "2", "10.0.0.2:80")) })
			fails("changed Register", func() error { return r.Register(node("greeter", "1", "10.0.0.2:80")) })
			fails("GetService", func() error { _, err := r.GetService("greeter"); return err })
			fails("ListServices", func() error { _, err := r.ListServices(); return err })
			fails("Watch", func() error { _, err := r.Watch(); return err })
			fails("Deregister", func() error { return r.Deregister(node("greeter", "1", "10.0.0.1:80")) })
			closeNow(t, r)
		})
	}
}

func TestContextsOfCallers(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Register":     r.Register(node("greeter", "1", "10.0.0.1:80"), registry.RegisterContext(ctx)),
		"Deregister":   r.Deregister(node("greeter", "1", "10.0.0.1:80"), registry.DeregisterContext(ctx)),
		"GetService":   second(r.GetService("greeter", registry.GetContext(ctx))),
		"ListServices": second(r.ListServices(registry.ListContext(ctx))),
		"Watch":        second(r.Watch(registry.WatchContext(ctx))),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
	}
	if _, err := r.GetService("greeter"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a cancelled Register left something: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAfterClose(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	closeNow(t, r)
	closeNow(t, r)
	for name, err := range map[string]error{
		"Init":         r.Init(),
		"Register":     r.Register(node("greeter", "1", "10.0.0.1:80")),
		"Deregister":   r.Deregister(node("greeter", "1", "10.0.0.1:80")),
		"GetService":   second(r.GetService("greeter")),
		"ListServices": second(r.ListServices()),
		"Watch":        second(r.Watch()),
	} {
		if !errors.Is(err, etcd.ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, etcd.ErrClosed)
		}
	}
}

// TestInitMovesToAnotherEtcd expects what is registered and watched to follow.
func TestInitMovesToAnotherEtcd(t *testing.T) {
	first, then := etcdtest.Start(t), etcdtest.Start(t)
	r := inClear(t, []string{first.Addr()})
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	register(t, inClear(t, []string{then.Addr()}), node("other", "1", "10.0.0.9:80"), time.Minute)
	w := watch(t, r, registry.WatchService("other"))
	if err := r.Init(registry.Addrs(then.Addr())); err != nil {
		t.Fatal(err)
	}
	c := then.Client()
	eventually(t, "the record is in the other etcd", func() bool {
		value, _, _ := key(t, c, greeterKey)
		return value != ""
	})
	want(t, w, "create other/1")
	if err := r.Init(etcd.Prefix("/elsewhere/")); !errors.Is(err, etcd.ErrInvalid) {
		t.Errorf("another prefix while registered: got %v, want %v", err, etcd.ErrInvalid)
	}
}

func TestNamesDoNotCollide(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	names := []string{"a/b", "a-b", "a%2Fb", "a", "..", ".", "a/../b", "a\x00b", "ä"}
	for i, name := range names {
		for j, id := range names {
			register(t, r, node(name, id, "10.0.0.1:"+string(rune('1'+i))+string(rune('1'+j))), 0)
		}
	}
	for i, name := range names {
		found, err := r.GetService(name)
		if err != nil || len(found) != 1 || len(found[0].Nodes) != len(names) {
			t.Fatalf("%q: got %v, %v", name, found, err)
		}
		for _, n := range found[0].Nodes {
			if n.Address[9] != byte('1'+i) {
				t.Errorf("%q has node %q of another service", name, n.Id)
			}
		}
	}
	if all, err := r.ListServices(); err != nil || len(all) != len(names) {
		t.Errorf("got %d services, %v, want %d", len(all), err, len(names))
	}
}

// TestVersionsAndRecords has three nodes of one version with endpoints of their own.
func TestVersionsAndRecords(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	for _, id := range []string{"1", "3", "2"} {
		svc := node("greeter", id, "10.0.0."+id+":80")
		svc.Metadata = map[string]string{"by": id}
		svc.Endpoints = []*registry.Endpoint{{Name: "Endpoint" + id}, nil}
		register(t, r, svc, 0)
	}
	old := node("greeter", "0", "10.0.0.4:80")
	old.Version = "0"
	register(t, r, old, 0)

	merged, err := r.GetService("greeter")
	if err != nil || len(merged) != 2 || merged[0].Version != "0" || len(merged[1].Nodes) != 3 {
		t.Fatalf("got %v, %v", merged, err)
	}
	if v := merged[1]; v.Metadata["by"] != "2" || len(v.Endpoints) != 1 || v.Endpoints[0].Name != "Endpoint2" {
		t.Errorf("metadata %v and endpoints %v are not of the record written last", v.Metadata, v.Endpoints)
	}
	each, err := r.GetService("greeter", pernode.Option())
	if err != nil || len(each) != 4 {
		t.Fatalf("got %d records, %v, want 4", len(each), err)
	}
	for _, one := range each[1:] {
		id := one.Nodes[0].Id
		if len(one.Nodes) != 1 || one.Metadata["by"] != id || one.Endpoints[0].Name != "Endpoint"+id {
			t.Errorf("record of %s: metadata %v, endpoints %v", id, one.Metadata, one.Endpoints)
		}
	}
}

// TestManyRecords needs several pages, past what is no record.
func TestManyRecords(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()}, etcd.Limit(etcd.Limits{Records: 700}))
	for i := range 600 {
		put(t, c, "/micro/registry/greeter/"+id(i), `{"name":"greeter","nodes":[{"id":"`+id(i)+`"}]}`)
		put(t, c, "/micro/registry/greeter/"+id(i)+"-junk", "junk")
	}
	found, err := r.GetService("greeter")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 600 {
		t.Fatalf("got %d services, %v, want one with 600 nodes", len(found), err)
	}
	few := inClear(t, []string{s.Addr()}, etcd.Limit(etcd.Limits{Records: 10}))
	found, err = few.GetService("greeter")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 10 {
		t.Fatalf("with a limit of 10: got %v, %v", found, err)
	}
}

// TestLargeRecords are together more than one message may have.
func TestLargeRecords(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	for i := range 24 {
		svc := node("greeter", id(i), "10.0.0.1:80")
		svc.Metadata = map[string]string{"large": string(make([]byte, 150<<10))} // six times that in JSON
		register(t, r, svc, 0)
	}
	found, err := r.GetService("greeter")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 24 {
		t.Fatalf("got %d services, %v, want one with 24 nodes", len(found), err)
	}
	svc := node("greeter", "too large", "10.0.0.1:80")
	svc.Metadata = map[string]string{"large": string(make([]byte, 200<<10))}
	if err := r.Register(svc); !errors.Is(err, etcd.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, etcd.ErrTooLarge)
	}
}

func id(i int) string {
	return string([]byte{byte('a' + i/26/26), byte('a' + i/26%26), byte('a' + i%26)})
}
