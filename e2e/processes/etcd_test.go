package processes

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// greeterPrefix is where greeter's registrations are in etcd.
const greeterPrefix = "/micro/registry/greeter/"

// etcdFleet is a cluster of etcd that lets each service write its own registrations
// only, and knows it by its certificate.
type etcdFleet struct {
	keys
	cluster *etcdtest.Cluster
}

func newEtcdFleet(t *testing.T, members int) etcdFleet {
	t.Helper()
	k := newKeys(t, "greeter", "caller", "billing")
	authority, err := identity.LoadAuthority(filepath.Join(k.root, "authority"))
	if err != nil {
		t.Fatal(err)
	}
	f := etcdFleet{keys: k, cluster: etcdtest.StartCluster(t, members, etcdtest.TLS(authority))}
	f.cluster.Members[0].EnableAuth(
		etcdtest.Account{Name: "greeter", Write: []string{greeterPrefix}},
		etcdtest.Account{Name: "caller", Read: []string{greeterPrefix}},
		// More than it should have, for it is to attack.
		etcdtest.Account{Name: "billing", Write: []string{greeterPrefix}},
	)
	return f
}

// as is the environment that makes a program find others in the cluster.
func (f etcdFleet) as(service string) []string {
	return append(f.keys.as(service),
		"MICRO_REGISTRY=signed",
		"SIGNET_REGISTRY=etcd",
		"MICRO_REGISTRY_ADDRESS="+strings.Join(f.cluster.Addrs(), ","),
	)
}

// root is a client that may do everything, of a member that lives.
func (f etcdFleet) root() *clientv3.Client {
	f.t.Helper()
	return f.cluster.Leader().ClientAs("root", etcdtest.RootPassword)
}

// registered waits until greeter's registration is in etcd, other than was, and
// returns it.
func (f etcdFleet) registered(was *clientv3.GetResponse) (now *clientv3.GetResponse) {
	f.t.Helper()
	root := f.root()
	poll(f.t, "greeter is in the registry", func() bool {
		ctx, cancel := context.WithTimeout(f.t.Context(), patience)
		defer cancel()
		var err error
		if now, err = root.Get(ctx, greeterPrefix, clientv3.WithPrefix()); err != nil {
			f.t.Fatal(err)
		}
		return len(now.Kvs) == 1 && (was == nil || now.Kvs[0].ModRevision != was.Kvs[0].ModRevision)
	})
	return now
}

// steady calls greeter, wherever the registry says that it is, until the test ends.
func (f etcdFleet) steady() *process {
	f.t.Helper()
	c := start(f.t, f.as("caller"), "caller", "--every", "5ms")
	c.await(0, 20, "call: Hello John")
	return c
}

// once calls greeter with a process of its own, which must find it.
func (f etcdFleet) once() {
	f.t.Helper()
	if status := start(f.t, f.as("caller"), "caller").exit(); status != 0 {
		f.t.Errorf("a caller started now: exit status %d", status)
	}
}

// TestEtcdLosesMembers: a cluster of three, of which a member is killed and
// restarted, and then the leader. No call fails, who comes meanwhile finds greeter,
// and greeter's registration is signed anew meanwhile.
func TestEtcdLosesMembers(t *testing.T) {
	f := newEtcdFleet(t, 3)
	startGreeter(t, f.as("greeter"), anyPort)
	was := f.registered(nil)
	c := f.steady()
	for _, lose := range []struct {
		name string
		pick func() *etcdtest.Server
	}{
		{"a follower", f.cluster.Follower},
		{"the leader", f.cluster.Leader},
	} {
		t.Logf("%s is killed", lose.name)
		s := lose.pick()
		s.Kill()
		c.await(c.mark(), 100, "call: Hello John")
		f.signet("renew", f.dir("greeter"))
		was = f.registered(was)
		f.once()
		s.Restart()
		f.cluster.Leader()
		c.await(c.mark(), 100, "call: Hello John")
	}
	if strings.Contains(c.text(), "failed") {
		t.Error("calls failed")
	}
}

// TestEtcdForgets: what etcd loses greeter enters again.
func TestEtcdForgets(t *testing.T) {
	for name, forget := range map[string]func(context.Context, etcdFleet, *clientv3.GetResponse) error{
		"key deleted by hand": func(ctx context.Context, f etcdFleet, was *clientv3.GetResponse) error {
			_, err := f.root().Delete(ctx, string(was.Kvs[0].Key))
			return err
		},
		"lease revoked by hand": func(ctx context.Context, f etcdFleet, was *clientv3.GetResponse) error {
			_, err := f.root().Revoke(ctx, clientv3.LeaseID(was.Kvs[0].Lease))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newEtcdFleet(t, 1)
			f.t = t
			startGreeter(t, f.as("greeter"), anyPort)
			was := f.registered(nil)
			c := f.steady()
			if err := forget(t.Context(), f, was); err != nil {
				t.Fatal(err)
			}
			f.registered(was)
			f.once()
			mark := c.mark()
			c.await(mark, 100, "call: Hello John")
			if strings.Contains(c.since(mark), "failed") {
				t.Error("calls failed after the repair")
			}
			t.Logf("%d calls failed before it", strings.Count(c.text(), "failed:"))
		})
	}
}

// TestEtcdDeregisters: a greeter that is told to stop leaves nothing behind, and
// calls find the one that is started elsewhere.
func TestEtcdDeregisters(t *testing.T) {
	f := newEtcdFleet(t, 1)
	g := startGreeter(t, f.as("greeter"), anyPort)
	f.registered(nil)
	c := f.steady()
	g.terminate()
	if status := g.exit(); status != 0 {
		t.Errorf("greeter: exit status %d", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	left, err := f.root().Get(ctx, greeterPrefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range left.Kvs {
		t.Errorf("left behind: %s", kv.Key)
	}
	c.await(c.mark(), 1, "not found")
	startGreeter(t, f.as("greeter"), anyPort)
	c.await(c.mark(), 20, "call: Hello John")
}

// TestEtcdImpostor: billing, which for once may write greeter's prefix in etcd,
// starts a greeter there. It cannot sign for that name, so it does not even get into
// the registry, and calls go on.
func TestEtcdImpostor(t *testing.T) {
	f := newEtcdFleet(t, 1)
	g := startGreeter(t, f.as("greeter"), anyPort)
	f.registered(nil)
	c := f.steady()
	impostor := startGreeter(t, f.as("billing"), anyPort)
	impostor.await(0, 1, "may not register")
	f.registered(nil) // one, still

	before := g.calls()
	c.await(c.mark(), 100, "call: Hello John")
	if g.calls() < before+50 {
		t.Error("calls do not reach greeter")
	}
	if n := impostor.calls(); n != 0 {
		t.Errorf("the impostor's handlers ran %d times", n)
	}
	if strings.Contains(c.text(), "failed") {
		t.Error("calls failed")
	}
}
