package etcd_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// accounts are a service that writes its own prefix and reads those that it calls.
func accounts(password string) etcdtest.Account {
	return etcdtest.Account{
		Name: "greeter", Password: password,
		Write: []string{"/micro/registry/greeter/"}, Read: []string{"/micro/registry/billing/"},
	}
}

func TestRolesPerService(t *testing.T) {
	a := authority(t, "shop.internal")
	for _, tt := range []struct {
		name string
		open func(t *testing.T) (registry.Registry, *etcdtest.Server)
	}{
		{"password, in clear", func(t *testing.T) (registry.Registry, *etcdtest.Server) {
			s := etcdtest.Start(t)
			s.EnableAuth(accounts("secret"))
			return inClear(t, []string{s.Addr()}, etcd.Auth("greeter", "secret")), s
		}},
		{"password from the environment, TLS", func(t *testing.T) (registry.Registry, *etcdtest.Server) {
			s := etcdtest.Start(t, etcdtest.TLS(a))
			s.EnableAuth(accounts("secret"))
			t.Setenv("ETCD_USERNAME", "greeter")
			t.Setenv("ETCD_PASSWORD", "secret")
			return open(t, registry.Addrs(s.Addr()), etcd.Identity(issue(t, a, "somebody"))), s
		}},
		{"common name of the certificate", func(t *testing.T) (registry.Registry, *etcdtest.Server) {
			s := etcdtest.Start(t, etcdtest.TLS(a))
			s.EnableAuth(accounts(""))
			return open(t, registry.Addrs(s.Addr()), etcd.Identity(issue(t, a, "greeter"))), s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, s := tt.open(t)
			w := watch(t, r, registry.WatchService("greeter"))
			register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
			want(t, w, "create greeter/1")
			if got := addressOf(r, "greeter"); got != "10.0.0.1:80" {
				t.Errorf("own service: got %q", got)
			}
			if _, err := r.GetService("billing"); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("a service that it may read: %v", err)
			}
			for what, err := range map[string]error{
				"Register of another":   r.Register(node("billing", "1", "10.0.0.1:80"), registry.RegisterTTL(time.Minute)),
				"Register of a longer":  r.Register(node("greeter2", "1", "10.0.0.1:80")),
				"Register by a path":    r.Register(node("greeter/../x", "1", "10.0.0.1:80")),
				"GetService of another": second(r.GetService("secret")),
				"ListServices":          second(r.ListServices()),
				"Watch of all":          second(r.Watch()),
			} {
				if !errors.Is(err, rpctypes.ErrPermissionDenied) {
					t.Errorf("%s: got %v, want %v", what, err, rpctypes.ErrPermissionDenied)
				}
			}
			s.Proxy.Cut()
			register(t, r, node("greeter", "2", "10.0.0.2:80"), time.Minute)
			deregister(t, r, node("greeter", "1", "10.0.0.1:80"))
			wantBesides(t, w, "update greeter/1", "create greeter/2", "delete greeter/1")
		})
	}
}

func TestAccountIsRefused(t *testing.T) {
	s := etcdtest.Start(t)
	s.EnableAuth(accounts("secret"))
	for _, tt := range []struct {
		name string
		opts []registry.Option
		want error
	}{
		{"no account", nil, rpctypes.ErrUserEmpty},
		{"wrong password", []registry.Option{etcd.Auth("greeter", "wrong")}, rpctypes.ErrAuthFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := inClear(t, []string{s.Addr()}, tt.opts...)
			if _, err := r.GetService("greeter"); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
