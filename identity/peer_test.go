package identity_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"testing"

	"go-micro.dev/v4/metadata"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/caller"
)

func TestServes(t *testing.T) {
	shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
	us := issue(t, shop, "us", identity.Trusting(partner))
	verified := func(id *identity.Identity) identity.Peer {
		t.Helper()
		peer, _, err := us.Verify(chain(t, id))
		if err != nil {
			t.Fatal(err)
		}
		return peer
	}
	greeter := verified(issue(t, shop, "shop/greeter", identity.DNSNames("greeter.shop.internal", "hello")))
	foreign := verified(issue(t, partner, "shop/greeter", identity.DNSNames("hello")))
	odd := verified(odd(t, shop))
	unverified := identity.Peer{ID: greeter.ID, TrustDomain: domain, Service: "shop/greeter", Certificate: greeter.Certificate}
	for _, c := range []struct {
		peer identity.Peer
		name string
		want bool
	}{
		{greeter, "shop/greeter", true},
		{greeter, "greeter.shop.internal", true},
		{greeter, "hello", true},
		{greeter, "spiffe://shop.internal/shop/greeter", true},
		{greeter, "", false},
		{greeter, "greeter", false}, // never the last path segment alone
		{greeter, "shop", false},
		{greeter, "Shop/Greeter", false},
		{greeter, "HELLO", false},
		{greeter, "spiffe://partner.org/shop/greeter", false},
		{foreign, "shop/greeter", false},
		{foreign, "hello", false},
		{foreign, "spiffe://partner.org/shop/greeter", true},
		{odd, "odd", true},
		{odd, "spiffe://shop.internal/us", false},
		{odd, "shop/greeter", false},
		{unverified, "shop/greeter", false},
		{unverified, "hello", false},
		{identity.Peer{}, "", false},
		{us.Peer(), "us", true},
	} {
		if got := c.peer.Serves(c.name); got != c.want {
			t.Errorf("%s serves %q: %v", c.peer, c.name, got)
		}
	}
}

// odd has DNS names that a careless CA let through: an ID and a path.
func odd(t *testing.T, a *identity.Authority) *identity.Identity {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "identity")
	rewrite(t, dir, signer(t, a), func(c *x509.Certificate) {
		c.URIs[0].Path = "/odd"
		c.DNSNames = []string{"spiffe://shop.internal/us", "shop/greeter"}
	})
	id, _ := load(t, dir)
	return id
}

func TestPeerFromContext(t *testing.T) {
	const local, remote = "10.0.0.1:7000", "10.0.0.2:51000"
	a := newAuthority(t, domain)
	leaf := issue(t, a, "billing").Peer().Certificate.Raw
	evil := issue(t, a, "evil").Peer().Certificate.Raw
	value := caller.SealHome(leaf, local, remote)

	// What the server of go-micro makes of a request.
	request := func(more ...string) metadata.Metadata {
		md := metadata.Metadata{caller.Header: value, "Local": local, "Remote": remote, "Micro-Service": "greeter"}
		for i := 0; i < len(more); i += 2 {
			md[more[i]] = more[i+1]
		}
		return md
	}
	without := func(key string) metadata.Metadata {
		md := request()
		delete(md, key)
		return md
	}
	peer, ok := identity.PeerFromContext(metadata.NewContext(t.Context(), request()))
	if !ok || peer.ID != "spiffe://shop.internal/billing" || !peer.Serves("billing") || peer.Certificate == nil {
		t.Errorf("got %+v, %v", peer, ok)
	}
	stranger := request(caller.Header, caller.Seal(leaf, local, remote))
	peer, ok = identity.PeerFromContext(metadata.NewContext(t.Context(), stranger))
	if !ok || peer.Serves("billing") || !peer.Serves("spiffe://shop.internal/billing") {
		t.Errorf("not of our trust domain: got %+v, %v", peer, ok)
	}

	for name, md := range map[string]metadata.Metadata{
		"empty":                        {},
		"no header":                    without(caller.Header),
		"bare name":                    request(caller.Header, "spiffe://shop.internal/billing"),
		"changed":                      request(caller.Header, changed(value)),
		"event":                        request("Micro-Topic", "orders"),
		"event without a topic":        request("Micro-Topic", ""),
		"event, lower case":            request("micro-topic", "orders"),
		"another local address":        request("Local", "10.0.0.1:7001"),
		"another remote address":       request("Remote", "10.0.0.3:51000"),
		"no local address":             without("Local"),
		"no remote address":            without("Remote"),
		"not a certificate":            request(caller.Header, caller.Seal([]byte("hello"), local, remote)),
		"not a leaf":                   request(caller.Header, caller.Seal(a.Certificate().Raw, local, remote)),
		"header in another case":       request("signet-caller", caller.Seal(evil, local, remote)),
		"header with a long s":         request("\u017fignet-Caller", caller.Seal(evil, local, remote)),
		"remote address in lower case": request("remote", "10.0.0.9:1"),
		"local address in lower case":  request("local", "10.0.0.9:1"),
		"only variants":                {"signet-caller": value, "local": local, "remote": remote},
	} {
		t.Run(name, func(t *testing.T) {
			// The order in which go-micro folds keys is random: none may do.
			for range 50 {
				if peer, ok := identity.PeerFromContext(metadata.NewContext(t.Context(), md)); ok {
					t.Fatalf("got %v", peer)
				}
			}
		})
	}
	t.Run("no metadata", func(t *testing.T) {
		if _, ok := identity.PeerFromContext(context.Background()); ok {
			t.Error("got a peer")
		}
	})
	t.Run("nil context", func(t *testing.T) {
		var none context.Context
		if _, ok := identity.PeerFromContext(none); ok {
			t.Error("got a peer")
		}
	})
	t.Run("a handler may change its metadata", func(t *testing.T) {
		ctx := metadata.NewContext(t.Context(), request())
		identity.PeerFromContext(ctx)
		if md, _ := metadata.FromContext(ctx); len(md) != 4 {
			t.Errorf("the metadata is %v", md)
		}
	})
}

func BenchmarkPeerFromContext(b *testing.B) {
	a, err := identity.NewAuthority(domain)
	if err != nil {
		b.Fatal(err)
	}
	md := metadata.Metadata{"Local": "10.0.0.1:7000", "Remote": "10.0.0.2:51000"}
	for i := range 15 {
		md[fmt.Sprintf("Micro-Header-%d", i)] = "value"
	}
	md[caller.Header] = caller.SealHome(issue(b, a, "a").Peer().Certificate.Raw, md["Local"], md["Remote"])
	ctx := metadata.NewContext(b.Context(), md)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := identity.PeerFromContext(ctx); !ok {
			b.Fatal("no peer")
		}
	}
}

// changed is value with another first character.
func changed(value string) string {
	if value[0] == 'A' {
		return "B" + value[1:]
	}
	return "A" + value[1:]
}
