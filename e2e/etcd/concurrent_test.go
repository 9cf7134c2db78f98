package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

// TestOneOwnerWins has several owners register the same node at the same time.
func TestOneOwnerWins(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	a := authority(t, "shop.internal")
	var all []registry.Registry
	for i := range 6 {
		r := inClear(t, []string{s.Addr()}, etcd.Identity(issue(t, a, fmt.Sprintf("s%d", i))))
		if _, err := r.ListServices(); err != nil { // connected before the race
			t.Fatal(err)
		}
		all = append(all, r)
	}
	for range 20 {
		errs := make([]error, len(all))
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i, r := range all {
			wg.Go(func() {
				<-begin
				errs[i] = r.Register(node("greeter", "1", fmt.Sprintf("10.0.0.%d:80", i)), registry.RegisterTTL(time.Minute))
			})
		}
		close(begin)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("both %d and %d were told that the record is theirs", winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, etcd.ErrTaken):
				t.Fatalf("%d: %v", i, err)
			}
		}
		if winner < 0 {
			t.Fatal("nobody has the record")
		}
		at := fmt.Sprintf("10.0.0.%d:80", winner)
		if got := addressOf(all[0], "greeter"); got != at {
			t.Fatalf("got %q, want %q", got, at)
		}
		deregister(t, all[winner], node("greeter", "1", at))
		if value, _, _ := key(t, c, greeterKey); value != "" {
			t.Fatal("it is still there")
		}
	}
}

// TestManyAtOnce registers, changes and removes one node from many goroutines. What
// is left is whole, and the last Deregister is the end of it.
func TestManyAtOnce(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				n := node("greeter", "1", fmt.Sprintf("10.0.0.%d:80", i))
				_ = r.Register(n, registry.RegisterTTL(time.Minute)) // may be overtaken
				if i%2 == 0 {
					_ = r.Deregister(n)
				}
			}
		})
	}
	within(t, long, "all of them", wg.Wait)
	deregister(t, r, node("greeter", "1", "10.0.0.1:80"))
	register(t, r, node("witness", "1", "10.0.0.1:80"), 0)
	if value, _, _ := key(t, c, greeterKey); value != "" {
		t.Errorf("after the last Deregister there is %s", value)
	}
}

// TestDeregisterOvertakesRegister does not wait for a Register that etcd does not
// answer.
func TestDeregisterOvertakesRegister(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()}, registry.Timeout(2*time.Minute))
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	s.Proxy.Blackhole()
	pending := make(chan error, 1)
	go func() { pending <- r.Register(node("greeter", "1", "10.0.0.2:80"), registry.RegisterTTL(time.Minute)) }()
	eventually(t, "that Register waits for etcd", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return r.Register(node("greeter", "1", "10.0.0.1:80"), registry.RegisterTTL(time.Minute), registry.RegisterContext(ctx)) != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, long/2, "Deregister", func() {
		if err := r.Deregister(node("greeter", "1", "10.0.0.1:80"), registry.DeregisterContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Deregister: got %v", err)
		}
	})
	s.Proxy.Pass()
	within(t, long, "Register", func() {
		<-pending
	})
}

// TestUnchangedRecordNeedsNoEtcd is what go-micro does every few seconds.
func TestUnchangedRecordNeedsNoEtcd(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()}, registry.Timeout(time.Second))
	n := node("greeter", "1", "10.0.0.1:80")
	register(t, r, n, time.Minute)
	s.Proxy.Blackhole()
	register(t, r, n, time.Minute)
}

// TestSilentMember is one of three that swallows what it is sent.
func TestSilentMember(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	r := inClear(t, cluster.Addrs(), registry.Timeout(12*time.Second))
	for i := range 6 { // all members are connected by then
		register(t, r, node("greeter", fmt.Sprint(i), "10.0.0.1:80"), time.Minute)
	}
	cluster.Follower().Proxy.Blackhole()
	for range 4 {
		if _, err := r.GetService("greeter"); err != nil {
			t.Error(err)
		}
	}
}
