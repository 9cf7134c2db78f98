package nats_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/go-signet/signet/identity"
	"github.com/nats-io/nats-server/v2/server"
	"go-micro.dev/v4/broker"
)

func TestTLS(t *testing.T) {
	ours, others := authority(t, "shop.internal"), authority(t, "other.internal")
	namesake := authority(t, "shop.internal") // same name, other keys
	id := issue(t, ours, "greeter")
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	type (
		servers = []natstest.Option
		opts    = []broker.Option
	)
	for _, tt := range []struct {
		name   string
		server servers
		opts   opts
		want   string // in the error; "" for none
	}{
		{"identity", servers{natstest.TLS(ours)}, opts{nats.Identity(id)}, ""},
		{"named server", servers{natstest.TLS(ours), natstest.Service("infra/nats")}, opts{nats.Identity(id), nats.Server("x", "infra/nats")}, ""},
		{"server is another service", servers{natstest.TLS(ours), natstest.Service("billing")}, opts{nats.Identity(id)}, "the server is spiffe://shop.internal/billing, not nats"},
		{"server of another trust domain", servers{natstest.TLS(others), natstest.AnonymousClients()}, opts{nats.Identity(id)}, "the server's certificate"},
		{"server of a CA of the same name", servers{natstest.TLS(namesake), natstest.AnonymousClients()}, opts{nats.Identity(id)}, "the server's certificate"},
		{"server in clear", nil, opts{nats.Identity(id)}, "offers no TLS"},
		{"server in clear, Secure", nil, opts{broker.Secure(true), broker.TLSConfig(&tls.Config{})}, "offers no TLS"},
		{"client in clear", servers{natstest.TLS(ours)}, nil, "tls"},
		{"no client certificate", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost"})}, "tls"},
		{"client of another CA", servers{natstest.TLS(ours)}, opts{nats.Identity(issue(t, others, "greeter", identity.Trusting(ours))), nats.Server("spiffe://shop.internal/nats")}, "tls"},
		{"tls.Config", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost", Certificates: []tls.Certificate{*cert}})}, ""},
		{"tls.Config and identity", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost"}), nats.Identity(id)}, ""},
		{"tls.Config, wrong host name", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "nats.example"}), nats.Identity(id)}, "not nats.example"},
		{"tls.Config, no host name", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool()}), nats.Identity(id)}, "IP SANs"},
		{"tls.Config, wrong CA", servers{natstest.TLS(ours)}, opts{broker.TLSConfig(&tls.Config{RootCAs: issue(t, others, "x").TrustPool(), ServerName: "localhost"}), nats.Identity(id)}, "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := natstest.Start(t, tt.server...)
			b := open(t, s.Addr(), tt.opts...)
			var err error
			within(t, long, "Connect", func() { err = b.Connect() })
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.want == "" && err == nil {
				got := subscribe(t, b, "topic")
				publish(t, b, "topic", "x")
				got.want("x")
				if !strings.HasPrefix(b.Address(), "tls://") {
					t.Errorf("the address is %s", b.Address())
				}
			}
			if err := b.Disconnect(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneAddressWithTLS makes the link to every other one TLS as well.
func TestOneAddressWithTLS(t *testing.T) {
	clear := natstest.Start(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	b := open(t, "", broker.Addrs("nats://"+clear.Addr(), "tls://"+gone.Addr().String()), broker.TLSConfig(&tls.Config{}))
	if err := b.Connect(); err == nil {
		t.Error("connected in clear")
		_ = b.Disconnect()
	}
}

// TestRevokedServer is one that was trusted when the link was made.
func TestRevokedServer(t *testing.T) {
	a := authority(t, "shop.internal")
	good, bad := natstest.Start(t, natstest.TLS(a)), natstest.Start(t, natstest.TLS(a))
	id := issue(t, a, "greeter")
	incidents := make(chan nats.Incident, 1<<16)
	b := connect(t, bad.Addr(), nats.Identity(id), nats.OnIncident(func(i nats.Incident) { incidents <- i }))
	got := subscribe(t, b, "topic")
	if err := a.Revoke(bad.Identity()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link to the revoked server has ended", func() bool { return bad.Running().NumClients() == 0 })
	for i := range incidents {
		if i.Kind == nats.Distrusted {
			if !errors.Is(i.Err, identity.ErrRevoked) {
				t.Errorf("got %v", i.Err)
			}
			break
		}
	}
	// Another server at the address takes over.
	bad.Proxy.SetTarget(good.Running().Addr().String())
	eventually(t, "the link is up again", func() bool { return good.Running().NumClients() == 1 })
	eventually(t, "the subscription is there", func() bool { return good.Running().NumSubscriptions() > 0 })
	publish(t, b, "topic", "x")
	got.want("x")
}

func TestRevokedServerIsRefused(t *testing.T) {
	a := authority(t, "shop.internal")
	s := natstest.Start(t, natstest.TLS(a))
	id := issue(t, a, "greeter")
	if err := a.Revoke(s.Identity()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, s.Addr(), nats.Identity(id)).Connect(); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("got %v", err)
	}
}

// TestRenewal shows a new certificate on the next connection.
func TestRenewal(t *testing.T) {
	a := authority(t, "shop.internal")
	s := natstest.Start(t, natstest.TLS(a))
	dir := t.TempDir()
	save := func() *identity.Identity {
		id := issue(t, a, "greeter")
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
		return id
	}
	save()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	b := connect(t, s.Addr(), nats.Identity(id))
	got := subscribe(t, b, "topic")
	before := id.Generation()
	renewed, err := save().TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the identity is renewed", func() bool { return id.Generation() > before })
	s.Proxy.Cut()
	eventually(t, "the link is up again", func() bool { return stats(b).Reconnects == 1 })
	conns, err := s.Running().Connz(&server.ConnzOptions{Username: true})
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(renewed.Certificate[0])
	if len(conns.Conns) != 1 || len(conns.Conns[0].TLSPeerCerts) == 0 || conns.Conns[0].TLSPeerCerts[0].CertSha256 != hex.EncodeToString(want[:]) {
		t.Errorf("the server was not shown the renewed certificate: %+v", conns.Conns)
	}
	publish(t, b, "topic", "x")
	got.want("x")
}

// recorder keeps what clients send to a proxy.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *recorder) tap(fromClient bool, data []byte) {
	if fromClient {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.buf.Write(data)
	}
}

func (r *recorder) contains(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.buf.Bytes(), []byte(s))
}

// TestCredentialsStayHere tries every way to send them in clear to an address that is not
// of the loopback interface, where a listener waits for them.
func TestCredentialsStayHere(t *testing.T) {
	s := natstest.Start(t)
	var r recorder
	s.Proxy.Tap(r.tap)
	_, port, _ := net.SplitHostPort(s.Addr())
	elsewhere := "signet-test.invalid:" + port
	for name, opts := range map[string][]broker.Option{
		"Auth": {broker.Addrs(s.Addr(), elsewhere), nats.Auth("user", "secret")}, "Token": {broker.Addrs(elsewhere, s.Addr()), nats.Token("secret")},
		"address": {broker.Addrs("nats://user:secret@"+s.Addr(), elsewhere)}, "token in an address": {broker.Addrs("secret@" + elsewhere)},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(t, "", opts...).Connect()
			if !errors.Is(err, nats.ErrInsecure) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
	if r.contains("secret") || r.contains("CONNECT") {
		t.Error("something was sent")
	}
	// The loopback interface is fine, and shows that the recorder works.
	connect(t, s.Addr(), nats.Auth("user", "secret"))
	if !r.contains("secret") {
		t.Error("the recorder has seen nothing")
	}
}

// TestCredentialsAreNotTakenElsewhere is what a server in clear could do by announcing
// others.
func TestCredentialsAreNotTakenElsewhere(t *testing.T) {
	user := natstest.User{Name: "greeter", Password: "secret"}
	c := natstest.StartCluster(t, 2, natstest.Users(user))
	var r recorder
	c.Members[1].Proxy.Tap(r.tap)
	log := newLogs()
	b := connect(t, c.Members[0].Addr(), nats.Auth("greeter", "secret"), broker.Logger(log))
	c.Members[0].Kill()
	eventually(t, "it has tried all the servers that it knows", func() bool { return log.count("reconnect:") > 3 || r.contains("secret") })
	c.Members[0].Restart(nil)
	eventually(t, "the link is up again", func() bool { return stats(b).Reconnects == 1 })
	if r.contains("secret") {
		t.Error("the credentials went to a server that the first has announced")
	}
}
