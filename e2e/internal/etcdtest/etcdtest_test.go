package etcdtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is one that goes through the proxy, unlike the harness's own.
func client(t *testing.T, addrs ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: addrs, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func get(c *clientv3.Client, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := c.Get(ctx, "key")
	return err
}

func TestProxy(t *testing.T) {
	s := etcdtest.Start(t)
	c := client(t, s.Addr())
	for _, tt := range []struct {
		name  string
		cut   func()
		heals bool
	}{
		{"refuse", s.Proxy.Refuse, false},
		{"blackhole", s.Proxy.Blackhole, false},
		{"cut", s.Proxy.Cut, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := get(c, 30*time.Second); err != nil {
				t.Fatalf("before: %v", err)
			}
			tt.cut()
			if err := get(c, 500*time.Millisecond); !tt.heals && err == nil {
				t.Error("a request passed")
			}
			s.Proxy.Pass()
			if err := get(c, 30*time.Second); err != nil {
				t.Errorf("after: %v", err)
			}
		})
	}
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	s := etcdtest.Start(t)
	c := client(t, s.Addr())
	if _, err := c.Put(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Restart()
	got, err := c.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value" {
		t.Errorf("got %v after the restart", got.Kvs)
	}
}

func TestClusterSurvivesItsLeader(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	c := client(t, cluster.Addrs()...)
	old := cluster.Leader()
	old.Kill()
	if now := cluster.Leader(); now == old {
		t.Fatal("a dead member leads")
	}
	if err := get(c, 30*time.Second); err != nil {
		t.Errorf("with two of three members: %v", err)
	}
	old.Restart()
	cluster.Leader()
	if err := get(old.Client(), 30*time.Second); err != nil {
		t.Errorf("the member that came back: %v", err)
	}
}

func TestCompact(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	for range 3 {
		if _, err := c.Put(t.Context(), "key", "value"); err != nil {
			t.Fatal(err)
		}
	}
	rev := s.Compact()
	if _, err := c.Get(t.Context(), "key", clientv3.WithRev(rev-1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("got %v, want %v", err, rpctypes.ErrCompacted)
	}
}

func TestAccountsMayDoNoMoreThanTheirRole(t *testing.T) {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts []etcdtest.Option
	}{
		{"in clear", nil},
		{"TLS", []etcdtest.Option{etcdtest.TLS(authority)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := etcdtest.Start(t, tt.opts...)
			root := s.EnableAuth(etcdtest.Account{Name: "greeter", Password: "secret", Write: []string{"/a/"}})
			c := s.ClientAs("greeter", "secret")
			if _, err := c.Put(t.Context(), "/a/1", ""); err != nil {
				t.Error(err)
			}
			if _, err := c.Put(t.Context(), "/b/1", ""); !errors.Is(err, rpctypes.ErrPermissionDenied) {
				t.Errorf("got %v, want %v", err, rpctypes.ErrPermissionDenied)
			}
			if _, err := root.Put(t.Context(), "/b/1", ""); err != nil {
				t.Error(err)
			}
		})
	}
}
