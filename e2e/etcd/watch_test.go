package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestWatchTellsEachChange(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	register(t, r, node("early", "1", "10.0.0.1:80"), 0)
	all, one := watch(t, r), watch(t, r, registry.WatchService("greeter"))

	greeter := node("greeter", "1", "10.0.0.1:80")
	register(t, r, greeter, 0)
	register(t, r, node("greeter2", "1", "10.0.0.3:80"), 0)
	greeter.Nodes[0].Address = "10.0.0.2:80"
	register(t, r, greeter, 0)
	greeter.Version = "2"
	register(t, r, greeter, 0)
	deregister(t, r, greeter)

	// The node moves from version 1 to 2, which go-micro's cache must be told.
	want(t, one, "create greeter/1", "update greeter/1", "delete greeter/1", "create greeter/1", "delete greeter/1")
	want(t, all, "create greeter/1", "create greeter2/1", "update greeter/1", "delete greeter/1", "create greeter/1", "delete greeter/1")
}

// TestEveryEventOfOneTransaction is what the old plugin drops all but one of.
func TestEveryEventOfOneTransaction(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	var deletes []clientv3.Op
	var changes []string
	for i := range 100 {
		id := fmt.Sprintf("%03d", i)
		register(t, r, node("greeter", id, "10.0.0.1:80"), 0)
		deletes = append(deletes, clientv3.OpDelete("/micro/registry/greeter/"+id))
		changes = append(changes, "delete greeter/"+id)
	}
	// The registry would bring them back.
	closeNow(t, r)
	watcher := inClear(t, []string{s.Addr()})
	w := watch(t, watcher)
	if _, err := c.Txn(t.Context()).Then(deletes...).Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, w, changes...)
}

// TestCompaction takes away the history that a cut-off watcher needs.
func TestCompaction(t *testing.T) {
	s := etcdtest.Start(t)
	far := etcdtest.NewProxy(t, s.Addr())
	near := inClear(t, []string{s.Addr()})
	for _, id := range []string{"gone", "kept", "moved"} {
		register(t, near, node("greeter", id, "10.0.0.1:80"), 0)
	}
	w := watch(t, inClear(t, []string{far.Addr()}))
	register(t, near, node("greeter", "first", "10.0.0.1:80"), 0)
	want(t, w, "create greeter/first")

	far.Refuse()
	deregister(t, near, node("greeter", "gone", "10.0.0.1:80"))
	register(t, near, node("greeter", "moved", "10.0.0.2:80"), 0)
	register(t, near, node("greeter", "new", "10.0.0.1:80"), 0)
	s.Compact()
	far.Pass()
	want(t, w, "delete greeter/gone", "update greeter/moved", "create greeter/new")
	register(t, near, node("greeter", "later", "10.0.0.1:80"), 0)
	want(t, w, "create greeter/later")
}

// TestSlowCaller gets the difference where there were too many changes.
func TestSlowCaller(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()}, etcd.Limit(etcd.Limits{Events: 4}))
	register(t, r, node("greeter", "gone", "10.0.0.1:80"), 0)
	register(t, r, node("greeter", "last", "10.0.0.1:80"), 0)
	w, witness := watch(t, r), watch(t, inClear(t, []string{s.Addr()}))
	for i := range 20 {
		register(t, r, node("greeter", "busy", fmt.Sprintf("10.0.0.1:%d", 1000+i)), 0)
	}
	deregister(t, r, node("greeter", "gone", "10.0.0.1:80"))
	deregister(t, r, node("greeter", "last", "10.0.0.1:80"))
	for next(t, witness) != "delete greeter/last" {
	}
	// How much of it the watcher has seen is not known here; what it tells must lead
	// to the truth, and be less than all.
	state, n := map[string]bool{"gone": true, "last": true}, 0
	for state["gone"] || state["last"] || !state["busy"] {
		var result *registry.Result
		within(t, long, "Next", func() { result, _ = w.Next() })
		if result == nil {
			t.Fatal("the watcher stopped")
		}
		state[result.Service.Nodes[0].Id] = result.Action != "delete"
		n++
	}
	if n >= 22 {
		t.Errorf("%d changes were queued, with a limit of 4", n)
	}
}

func TestJunkOverARecordIsItsEnd(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	log := newLogs()
	r := inClear(t, []string{s.Addr()}, registry.Logger(log))
	put(t, c, greeterKey, `{"name":"greeter","version":"1","nodes":[{"id":"1","address":"10.0.0.1:80"}]}`)
	w := watch(t, r)
	for _, junk := range []string{"", "null", `{"nodes":[null]}`, `{"name":"other","nodes":[{"id":"1"}]}`, "\xff"} {
		put(t, c, greeterKey, junk)
	}
	put(t, c, "/micro/registry/greeter/a/b", `{}`)
	put(t, c, "/micro/registry/greeter/2", `{"name":"greeter","version":"1","nodes":[{"id":"2","address":"10.0.0.1:80"}]}`)
	want(t, w, "delete greeter/1", "create greeter/2")
	if !log.contain(`skipping the record at "/micro/registry/greeter/1"`) {
		t.Error("nothing is logged about the junk")
	}
}

func TestWatcherEnds(t *testing.T) {
	s := etcdtest.Start(t)
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, r registry.Registry, w registry.Watcher, cancel context.CancelFunc)
	}{
		{"Stop", func(_ *testing.T, _ registry.Registry, w registry.Watcher, _ context.CancelFunc) { w.Stop(); w.Stop() }},
		{"context", func(_ *testing.T, _ registry.Registry, _ registry.Watcher, cancel context.CancelFunc) { cancel() }},
		{"Close", func(t *testing.T, r registry.Registry, _ registry.Watcher, _ context.CancelFunc) { closeNow(t, r) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := inClear(t, []string{s.Addr()})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w := watch(t, r, registry.WatchContext(ctx))
			got := make(chan error, 1)
			go func() {
				_, err := w.Next()
				got <- err
			}()
			tt.end(t, r, w, cancel)
			select {
			case err := <-got:
				if !errors.Is(err, registry.ErrWatcherStopped) {
					t.Errorf("got %v, want %v", err, registry.ErrWatcherStopped)
				}
			case <-time.After(long):
				t.Fatal("Next goes on waiting")
			}
		})
	}
}
