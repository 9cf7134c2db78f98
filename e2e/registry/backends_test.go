package registry_test

import (
	"context"
	"io"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"

	oldetcd "github.com/go-micro/plugins/v4/registry/etcd"
	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// backend is a registry that registry/signed is to work over.
type backend struct {
	name  string
	start func(*testing.T, *identity.Authority) open
	// overwrites: whoever registers a node that there is replaces it.
	overwrites bool
}

// open connects to a registry, as each process does.
type open func(*identity.Identity) registry.Registry

var (
	memory   = backend{name: "memory", start: startMemory}
	mdns     = backend{name: "mdns", start: startMDNS}
	overEtcd = backend{name: "etcd", start: startEtcd}
	plugin   = backend{name: "go-micro's etcd", start: startPlugin, overwrites: true}
)

// startMemory makes one registry for all, since it has no network.
func startMemory(*testing.T, *identity.Authority) open {
	shared := registry.NewMemoryRegistry()
	return func(*identity.Identity) registry.Registry { return shared }
}

// domains keeps tests from hearing each other, and from other machines' services.
var domains atomic.Int64

// startMDNS multicasts, to a domain of this test.
func startMDNS(*testing.T, *identity.Authority) open {
	var key any = "mdns.domain" // go-micro asks for this very string
	domain := "signet-test-" + strconv.FormatInt(domains.Add(1), 10)
	return func(*identity.Identity) registry.Registry {
		return registry.NewRegistry(func(o *registry.Options) {
			o.Context = context.WithValue(context.Background(), key, domain)
		})
	}
}

// startEtcd has registry/etcd, over mutual TLS.
func startEtcd(t *testing.T, a *identity.Authority) open {
	server := etcdtest.Start(t, etcdtest.TLS(a))
	return func(id *identity.Identity) registry.Registry {
		r := etcd.NewRegistry(registry.Addrs(server.Addr()), etcd.Identity(id), registry.Logger(quiet))
		t.Cleanup(func() { must(t, r.(io.Closer).Close()) })
		return r
	}
}

// startPlugin has go-micro's own plugin for etcd, in clear.
func startPlugin(t *testing.T, _ *identity.Authority) open {
	server := etcdtest.Start(t)
	return func(*identity.Identity) registry.Registry {
		r := oldetcd.NewRegistry(registry.Addrs(server.Addr()))
		t.Cleanup(func() {
			// It has no Close.
			field := reflect.ValueOf(r).Elem().FieldByName("client")
			must(t, (*clientv3.Client)(field.UnsafePointer()).Close())
		})
		return r
	}
}
