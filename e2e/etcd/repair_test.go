package etcd_test

import (
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const greeterKey = "/micro/registry/greeter/1"

// TestRepair breaks a record in each way, and expects it back with a living lease.
func TestRepair(t *testing.T) {
	for _, tt := range []struct {
		name string
		ttl  time.Duration
		hurt func(t *testing.T, s *etcdtest.Server, c *clientv3.Client, lease clientv3.LeaseID)
	}{
		{"key deleted by hand", time.Minute, func(t *testing.T, _ *etcdtest.Server, c *clientv3.Client, _ clientv3.LeaseID) {
			if _, err := c.Delete(t.Context(), greeterKey); err != nil {
				t.Fatal(err)
			}
		}},
		{"key without lease deleted by hand", 0, func(t *testing.T, _ *etcdtest.Server, c *clientv3.Client, _ clientv3.LeaseID) {
			if _, err := c.Delete(t.Context(), greeterKey); err != nil {
				t.Fatal(err)
			}
		}},
		{"key overwritten with junk", time.Minute, func(t *testing.T, _ *etcdtest.Server, c *clientv3.Client, _ clientv3.LeaseID) {
			put(t, c, greeterKey, `{"nodes":[null]}`)
		}},
		{"lease revoked by hand", time.Hour, func(t *testing.T, _ *etcdtest.Server, c *clientv3.Client, lease clientv3.LeaseID) {
			if _, err := c.Revoke(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
		}},
		{"partition longer than the TTL, refused", 2 * time.Second, func(t *testing.T, s *etcdtest.Server, c *clientv3.Client, _ clientv3.LeaseID) {
			s.Proxy.Refuse()
			untilGone(t, c)
			s.Proxy.Pass()
		}},
		{"partition longer than the TTL, silent", 2 * time.Second, func(t *testing.T, s *etcdtest.Server, c *clientv3.Client, _ clientv3.LeaseID) {
			s.Proxy.Blackhole()
			untilGone(t, c)
			s.Proxy.Pass()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := etcdtest.Start(t)
			c := s.Client()
			r := inClear(t, []string{s.Addr()})
			register(t, r, node("greeter", "1", "10.0.0.1:80"), tt.ttl)
			before, lease, rev := key(t, c, greeterKey)
			tt.hurt(t, s, c, lease)
			eventually(t, "the record is back", func() bool {
				value, lease, now := key(t, c, greeterKey)
				return value == before && now > rev && (lease != 0) == (tt.ttl > 0)
			})
			if tt.ttl == 0 {
				return
			}
			_, lease, _ = key(t, c, greeterKey)
			ttl, err := c.TimeToLive(t.Context(), lease)
			if err != nil || ttl.TTL <= 0 {
				t.Errorf("the new lease has TTL %v: %v", ttl, err)
			}
		})
	}
}

func untilGone(t *testing.T, c *clientv3.Client) {
	t.Helper()
	eventually(t, "the lease ends", func() bool {
		value, _, _ := key(t, c, greeterKey)
		return value == ""
	})
}

// TestLeaseIsKeptAlive outlives the TTL with nobody calling Register.
func TestLeaseIsKeptAlive(t *testing.T) {
	s := etcdtest.Start(t)
	c := s.Client()
	r := inClear(t, []string{s.Addr()})
	register(t, r, node("greeter", "1", "10.0.0.1:80"), 1500*time.Millisecond)
	_, lease, rev := key(t, c, greeterKey)
	info, err := c.TimeToLive(t.Context(), lease)
	if err != nil {
		t.Fatal(err)
	}
	if info.GrantedTTL != 2 {
		t.Errorf("a TTL of 1.5s became %d s, want 2", info.GrantedTTL)
	}
	// A witness with the same TTL and nobody to keep it alive shows the time passing.
	witness, err := c.Grant(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "twice the TTL is over", func() bool {
		left, err := c.TimeToLive(t.Context(), witness.ID)
		return err == nil && left.TTL <= 0
	})
	if _, now, nowRev := key(t, c, greeterKey); now != lease || nowRev != rev {
		t.Errorf("the record was written again (lease %x to %x, revision %d to %d)", lease, now, rev, nowRev)
	}
}

// TestServerRestart loses no registration and no watcher.
func TestServerRestart(t *testing.T) {
	s := etcdtest.Start(t)
	r := inClear(t, []string{s.Addr()})
	w := watch(t, r)
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	want(t, w, "create greeter/1")
	s.Kill()
	s.Restart()
	eventually(t, "the service is found", func() bool { return addressOf(r, "greeter") == "10.0.0.1:80" })
	register(t, r, node("greeter", "2", "10.0.0.2:80"), time.Minute)
	for {
		got := next(t, w)
		if got == "create greeter/2" {
			return
		}
		if got != "update greeter/1" {
			t.Fatalf("got %q", got)
		}
	}
}

// TestClusterFaults takes members away while a service is registered and watched.
func TestClusterFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		lose func(*etcdtest.Cluster) *etcdtest.Server
	}{
		{"leader lost", (*etcdtest.Cluster).Leader},
		{"member lost", (*etcdtest.Cluster).Follower},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cluster := etcdtest.StartCluster(t, 3)
			r := inClear(t, cluster.Addrs())
			w := watch(t, r)
			register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
			want(t, w, "create greeter/1")
			lost := tt.lose(cluster)
			lost.Kill()
			cluster.Leader()
			for _, id := range []string{"2", "3", "4"} {
				register(t, r, node("greeter", id, "10.0.0.2:80"), time.Minute)
				deregister(t, r, node("greeter", id, "10.0.0.2:80"))
				wantBesides(t, w, "update greeter/1", "create greeter/"+id, "delete greeter/"+id)
			}
			lost.Restart()
			if got := addressOf(r, "greeter"); got != "10.0.0.1:80" {
				t.Errorf("the registration did not stay: got %q", got)
			}
		})
	}
}

// TestNoMajority cuts a cluster down to one member: a watcher must not hang on it.
func TestNoMajority(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	log := newLogs()
	r := inClear(t, cluster.Addrs(), registry.Logger(log))
	w := watch(t, r)
	leader := cluster.Leader()
	var others []*etcdtest.Server
	for _, m := range cluster.Members {
		if m != leader {
			others = append(others, m)
			m.Kill()
		}
	}
	eventually(t, "the watcher knows", func() bool { return log.contain("no leader") })
	short := inClear(t, cluster.Addrs(), registry.Timeout(time.Second))
	within(t, long, "GetService without a majority", func() {
		if _, err := short.GetService("greeter"); err == nil {
			t.Error("it was answered")
		}
	})
	for _, m := range others {
		m.RestartSoon()
	}
	cluster.Ready()
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	want(t, w, "create greeter/1")
}

// wantBesides is want, and lets changes pass that a repair makes.
func wantBesides(t *testing.T, w registry.Watcher, besides string, changes ...string) {
	t.Helper()
	for _, c := range changes {
		got := next(t, w)
		for got == besides {
			got = next(t, w)
		}
		if got != c {
			t.Fatalf("got %q, want %q", got, c)
		}
	}
}
