package etcd_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

func TestTLS(t *testing.T) {
	ours, others := authority(t, "shop.internal"), authority(t, "other.internal")
	namesake := authority(t, "shop.internal") // same name, other keys
	id := issue(t, ours, "greeter")
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		server []etcdtest.Option
		opts   []registry.Option
		want   string // in the error; "" for none
	}{
		{"identity", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{etcd.Identity(id)}, ""},
		{"named server", []etcdtest.Option{etcdtest.TLS(ours), etcdtest.Service("infra/etcd")}, []registry.Option{etcd.Identity(id), etcd.Server("x", "infra/etcd")}, ""},
		{"server is another service", []etcdtest.Option{etcdtest.TLS(ours), etcdtest.Service("billing")}, []registry.Option{etcd.Identity(id)}, "the server is spiffe://shop.internal/billing, not etcd"},
		{"server of another trust domain", []etcdtest.Option{etcdtest.TLS(others), etcdtest.AnonymousClients()}, []registry.Option{etcd.Identity(id)}, "the server's certificate"},
		{"server of a CA of the same name", []etcdtest.Option{etcdtest.TLS(namesake), etcdtest.AnonymousClients()}, []registry.Option{etcd.Identity(id)}, "the server's certificate"},
		{"server in clear", nil, []registry.Option{etcd.Identity(id)}, "handshake failed"},
		{"client in clear", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{etcd.Insecure()}, "etcd"},
		{"no client certificate", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost"})}, "accepts our certificate"},
		{"client of another CA", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{etcd.Identity(issue(t, others, "greeter", identity.Trusting(ours))), etcd.Server("spiffe://shop.internal/etcd")}, "accepts our certificate"},
		{"tls.Config", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost", Certificates: []tls.Certificate{*cert}})}, ""},
		{"tls.Config and identity", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost"}), etcd.Identity(id)}, ""},
		{"tls.Config, wrong host name", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "etcd.example"}), etcd.Identity(id)}, "not etcd.example"},
		{"tls.Config, no host name", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: id.TrustPool()}), etcd.Identity(id)}, "IP SANs"},
		{"tls.Config, wrong CA", []etcdtest.Option{etcdtest.TLS(ours)}, []registry.Option{registry.TLSConfig(&tls.Config{RootCAs: issue(t, others, "x").TrustPool(), ServerName: "localhost"}), etcd.Identity(id)}, "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := etcdtest.Start(t, tt.server...)
			timeout := 20 * time.Second
			if tt.want != "" {
				timeout = 2 * time.Second // an error takes all of it
			}
			r := open(t, append([]registry.Option{registry.Addrs(s.Addr()), registry.Timeout(timeout)}, tt.opts...)...)
			err := r.Register(node("greeter", "1", "10.0.0.1:80"), registry.RegisterTTL(time.Minute))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.want == "" && addressOf(r, "greeter") != "10.0.0.1:80" {
				t.Error("it is not found")
			}
		})
	}
}

// TestRenewedCertificate connects anew after the first certificate has ended.
func TestRenewedCertificate(t *testing.T) {
	a := authority(t, "shop.internal")
	dir := t.TempDir() + "/greeter"
	short := issue(t, a, "greeter", identity.ValidFor(3*time.Second))
	if err := short.Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	s := etcdtest.Start(t, etcdtest.TLS(a))
	r := open(t, registry.Addrs(s.Addr()))
	register(t, r, node("greeter", "1", "10.0.0.1:80"), time.Minute)
	if err := issue(t, a, "greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first certificate ends", func() bool {
		_, err := short.TLSCertificate()
		return errors.Is(err, identity.ErrExpired)
	})
	s.Proxy.Cut()
	if got := addressOf(r, "greeter"); got != "10.0.0.1:80" {
		_, err := r.GetService("greeter")
		t.Errorf("with the renewed certificate: got %q, %v", got, err)
	}
}
