package etcd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	old "github.com/go-micro/plugins/v4/registry/etcd"
	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
)

// oldPluginEnv makes the test binary a process that uses go-micro's own etcd plugin
// against the address in it: that plugin's client cannot be closed.
const oldPluginEnv = "SIGNET_TEST_OLD_ETCD_PLUGIN"

// oldPlugin registers billing, and prints where it finds greeter.
func oldPlugin(addr string) int {
	r := old.NewRegistry(registry.Addrs(addr))
	err := r.Register(node("billing", "1", "10.0.0.2:80"), registry.RegisterTTL(time.Minute))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Print(addressOf(r, "greeter"))
	return 0
}

// TestOldPlugin has records go both ways between go-micro's own plugin and ours.
func TestOldPlugin(t *testing.T) {
	s := etcdtest.Start(t)
	ours := inClear(t, []string{s.Addr()}, etcd.Identity(issue(t, authority(t, "shop.internal"), "greeter")))
	register(t, ours, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	theirs := exec.CommandContext(t.Context(), os.Args[0])
	theirs.Env = append(os.Environ(), oldPluginEnv+"="+s.Addr())
	out, err := theirs.Output()
	if err != nil || string(out) != "10.0.0.1:80" {
		t.Errorf("the old plugin finds greeter at %q: %v", out, err)
	}
	if got := addressOf(ours, "billing"); got != "10.0.0.2:80" {
		t.Errorf("billing is at %q", got)
	}
}

// Greeter is a handler.
type Greeter struct{}

// Message is its request and its response.
type Message struct{ Name string }

// Hello greets.
func (*Greeter) Hello(_ context.Context, in, out *Message) error {
	out.Name = "hello " + in.Name
	return nil
}

// TestRealService calls a go-micro server that a go-micro client finds in etcd, twice,
// with an end of the service in between.
func TestRealService(t *testing.T) {
	a := authority(t, "shop.internal")
	s := etcdtest.Start(t, etcdtest.TLS(a))
	at := registry.Addrs(s.Addr())
	caller := open(t, at, etcd.Identity(issue(t, a, "caller")))
	choose := selector.NewSelector(selector.Registry(caller))
	t.Cleanup(func() { _ = choose.Close() })
	c := client.NewClient(
		client.Registry(caller), client.Broker(broker.NewMemoryBroker()), client.RequestTimeout(long),
		client.Selector(choose),
	)
	for range 2 {
		own := open(t, at, etcd.Identity(issue(t, a, "greeter")))
		srv := server.NewServer(
			server.Name("greeter"), server.Address("127.0.0.1:0"), server.Registry(own),
			server.Broker(broker.NewMemoryBroker()), server.RegisterTTL(10*time.Second), server.RegisterInterval(time.Second),
		)
		if err := srv.Handle(srv.NewHandler(&Greeter{})); err != nil {
			t.Fatal(err)
		}
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a call succeeds", func() bool {
			var out Message
			err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Hello", &Message{Name: "you"}), &out)
			return err == nil && out.Name == "hello you"
		})
		within(t, long, "Stop", func() {
			if err := srv.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
		if found, err := caller.GetService("greeter"); err != registry.ErrNotFound {
			t.Errorf("after Stop: %v, %v", found, err)
		}
	}
}
