package quic_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/transport"
)

func uris(ids ...string) []*url.URL {
	var list []*url.URL
	for _, id := range ids {
		u, err := url.Parse(id)
		if err != nil {
			panic(err)
		}
		list = append(list, u)
	}
	return list
}

// spoiled are certificates that ought to be refused, and what the one who
// refuses says of them.
var spoiled = map[string]struct {
	modify  func(*x509.Certificate)
	refused string // in the words of the side that checks
	told    string // in the words of a client that is refused
}{
	"expired": {
		func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		},
		"expired", "has expired",
	},
	"not yet valid": {
		func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) },
		"not yet valid", "not yet valid",
	},
	"CA leaf": {
		func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign },
		"CA", "does not accept our certificate",
	},
	"two URI SANs": {
		func(c *x509.Certificate) {
			c.URIs = uris("spiffe://shop.internal/greeter", "spiffe://shop.internal/billing")
		},
		"URI", "does not accept our certificate",
	},
	"no URI SAN": {
		func(c *x509.Certificate) { c.URIs = nil },
		"URI", "does not accept our certificate",
	},
	"client EKU only at a server": {
		func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"", "does not accept our certificate",
	},
	"code signing EKU": {
		func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} },
		"", "does not accept our certificate",
	},
}

// TestClientCertificate: a client whose certificate is not in order reaches no
// handler and is told why.
func TestClientCertificate(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	server := newTransport(t, transport.TLSConfig(ca.tlsConfig(ca.certificate("greeter", nil))))
	var handler called
	l := serve(t, server, handler.handler)

	dialWith := func(t *testing.T, conf *tls.Config) error {
		tr := newTransport(t, transport.TLSConfig(conf))
		_, err := tr.Dial(l.Addr())
		return err
	}
	t.Run("in order", func(t *testing.T) {
		tr := newTransport(t, transport.TLSConfig(ca.tlsConfig(ca.certificate("caller", nil))))
		mustEcho(t, dial(t, tr, l.Addr()), call("greeter", "hello"))
	})
	before := handler.times()
	for name, s := range spoiled {
		t.Run(name, func(t *testing.T) {
			err := dialWith(t, ca.tlsConfig(ca.certificate("caller", s.modify)))
			if err == nil || !strings.Contains(err.Error(), s.told) {
				t.Errorf("got %v, want %q", err, s.told)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		conf := ca.tlsConfig(tls.Certificate{})
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
		err := dialWith(t, conf)
		if err == nil || !strings.Contains(err.Error(), "requires a client certificate") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of another CA", func(t *testing.T) {
		other := newOutside(t, "shop.internal")
		conf := ca.tlsConfig(other.certificate("caller", nil))
		err := dialWith(t, conf)
		if err == nil || !strings.Contains(err.Error(), "does not trust the CA") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of another trust domain", func(t *testing.T) {
		err := dialWith(t, ca.tlsConfig(ca.certificate("caller", func(c *x509.Certificate) {
			c.URIs = uris("spiffe://other.internal/caller")
		})))
		if err == nil || !strings.Contains(err.Error(), "not of our trust domain") {
			t.Errorf("got %v", err)
		}
	})
	if got := handler.times(); got != before {
		t.Errorf("the handler ran %d times for refused clients", got-before)
	}
}

// TestServerCertificate: a server whose certificate is not in order gets not one
// byte of a call.
func TestServerCertificate(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	client := newTransport(t, transport.TLSConfig(ca.tlsConfig(ca.certificate("caller", nil))))
	for name, s := range spoiled {
		t.Run(name, func(t *testing.T) {
			server := newTransport(t, transport.TLSConfig(ca.tlsConfig(ca.certificate("greeter", s.modify))))
			var handler called
			l := serve(t, server, handler.handler)
			_, err := client.Dial(l.Addr())
			if err == nil || !strings.Contains(err.Error(), "we refused") || !strings.Contains(err.Error(), s.refused) {
				t.Errorf("got %v, want %q", err, s.refused)
			}
			if handler.times() != 0 {
				t.Error("the handler ran")
			}
		})
	}
	t.Run("of another CA", func(t *testing.T) {
		other := newOutside(t, "shop.internal")
		conf := other.tlsConfig(other.certificate("greeter", nil))
		conf.ClientCAs = ca.pool()
		l := serve(t, newTransport(t, transport.TLSConfig(conf)), echo)
		_, err := client.Dial(l.Addr())
		if err == nil || !strings.Contains(err.Error(), "compare ca.crt") {
			t.Errorf("got %v", err)
		}
	})
}

// TestIdentityTrust: the same through identities, whose trust is by domain.
func TestIdentityTrust(t *testing.T) {
	f := newFleet(t)
	var handler called
	l := serve(t, f.transport("greeter"), handler.handler)

	t.Run("member", func(t *testing.T) {
		mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
	})
	before := handler.times()
	t.Run("stranger", func(t *testing.T) {
		if _, err := newFleet(t).transport("caller").Dial(l.Addr()); err == nil || !strings.Contains(err.Error(), "ca.crt") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		id := f.issue("caller")
		if err := f.authority.Revoke(id); err != nil {
			t.Fatal(err)
		}
		if _, err := newTransport(t, quic.Identity(id)).Dial(l.Addr()); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("got %v", err)
		}
	})
	if got := handler.times(); got != before {
		t.Errorf("the handler ran %d times for refused clients", got-before)
	}
}

// TestAuthorize: a verified peer that the user's function refuses gets nothing,
// in either direction.
func TestAuthorize(t *testing.T) {
	f := newFleet(t)
	onlyCaller := func(p identity.Peer) error {
		if p.Service != "caller" {
			return errors.New("not on the list")
		}
		return nil
	}
	t.Run("server", func(t *testing.T) {
		var handler called
		l := serve(t, f.transport("greeter", quic.Authorize(onlyCaller)), handler.handler)
		mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
		before := handler.times()
		_, err := f.transport("billing").Dial(l.Addr())
		if !errors.Is(err, quic.ErrUnauthorized) {
			t.Errorf("got %v", err)
		}
		if strings.Contains(err.Error(), "not on the list") {
			t.Errorf("the peer was told our reason: %v", err)
		}
		if handler.times() != before {
			t.Error("the handler ran")
		}
	})
	t.Run("panic", func(t *testing.T) {
		var handler called
		l := serve(t, f.transport("greeter", quic.Authorize(func(p identity.Peer) error {
			if p.Service != "caller" {
				panic("no idea who that is")
			}
			return nil
		})), handler.handler)
		if _, err := f.transport("billing").Dial(l.Addr()); !errors.Is(err, quic.ErrUnauthorized) || handler.times() != 0 {
			t.Errorf("got %v; the handler ran %d times", err, handler.times())
		}
		mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
	})
	t.Run("client", func(t *testing.T) {
		var handler called
		l := serve(t, f.transport("greeter"), handler.handler)
		_, err := f.transport("caller", quic.Authorize(onlyCaller)).Dial(l.Addr())
		if !errors.Is(err, quic.ErrUnauthorized) || !strings.Contains(err.Error(), "not on the list") {
			t.Errorf("got %v", err)
		}
		if handler.times() != 0 {
			t.Error("the handler ran")
		}
	})
}

// TestManyCAs: the names of all CAs go into the handshake, so there can be too
// many; Listen says so, where each handshake would fail without a reason.
func TestManyCAs(t *testing.T) {
	f := newFleet(t)
	bundle := func(domain string, n int) []byte {
		var cas []*x509.Certificate
		for range n {
			ca, err := keys.NewCA(domain, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			cas = append(cas, ca.Cert)
		}
		return keys.EncodeCertificates(cas...)
	}
	load := func(t *testing.T, federated int) *identity.Identity {
		dir := t.TempDir() + "/greeter"
		if err := f.issue("greeter").Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir+"/trust", 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range federated {
			domain := fmt.Sprintf("other%d.internal", i)
			if err := os.WriteFile(dir+"/trust/"+domain+".crt", bundle(domain, 90), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		id, err := identity.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		return id
	}
	t.Run("91", func(t *testing.T) {
		l := serve(t, newTransport(t, quic.Identity(load(t, 1))), echo)
		mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
	})
	t.Run("271", func(t *testing.T) {
		l, err := newTransport(t, quic.Identity(load(t, 3))).Listen("127.0.0.1:0")
		if err == nil {
			defer l.Close()
			_, err := f.transport("caller").Dial(l.Addr())
			t.Fatalf("Listen succeeded; then Dial: %v", err)
		}
		if !strings.Contains(err.Error(), "names of the trusted CAs") {
			t.Errorf("got %v", err)
		}
	})
}
