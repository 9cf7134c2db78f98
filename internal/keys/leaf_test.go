package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func uri(s string) *url.URL { return must(url.Parse(s)) }

func TestIssue(t *testing.T) {
	ca := newCA(t, domain)
	for _, kind := range []keys.Algorithm{keys.P256, keys.Ed25519, keys.RSA2048} {
		leaf, key, err := ca.Issue(keys.Request{Service: "shop/greeter", DNSNames: []string{"greeter.shop.internal"}, Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		id, until, err := join(t, trustOf(t, ca)).Verify([]*x509.Certificate{leaf}, time.Now())
		if err != nil || id.String() != "spiffe://shop.internal/shop/greeter" {
			t.Errorf("got %v, %v", id, err)
		}
		if !until.Equal(ca.Cert.NotAfter) {
			t.Errorf("verdict holds until %v; the authority, which ends first, until %v", until, ca.Cert.NotAfter)
		}
		if fmt.Sprintf("%T", key.Public()) != fmt.Sprintf("%T", leaf.PublicKey) {
			t.Errorf("key %T, certificate %T", key.Public(), leaf.PublicKey)
		}
		if leaf.NotAfter.After(ca.Cert.NotAfter) {
			t.Error("the leaf outlives the authority")
		}
		if skew := time.Since(leaf.NotBefore); skew < keys.ClockSkew {
			t.Errorf("the leaf begins only %v ago", skew)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := newCA(t, domain)
	for name, r := range map[string]keys.Request{
		"empty service":       {},
		"parent segment":      {Service: "a/../b"},
		"control character":   {Service: "a\x01"},
		"over 255 bytes":      {Service: strings.Repeat("a", 256)},
		"wildcard DNS name":   {Service: "a", DNSNames: []string{"*.shop.internal"}},
		"empty DNS name":      {Service: "a", DNSNames: []string{""}},
		"DNS name with space": {Service: "a", DNSNames: []string{"a b"}},
		"long DNS label":      {Service: "a", DNSNames: []string{strings.Repeat("a", 64)}},
		"too many DNS names":  {Service: "a", DNSNames: make([]string, keys.MaxDNSNames+1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ca.Issue(r)
			wantError(t, err, keys.ErrInvalidName)
		})
	}
	t.Run("no lifetime left", func(t *testing.T) {
		_, _, err := ca.Issue(keys.Request{Service: "a", Lifetime: time.Millisecond})
		wantError(t, err, nil, "at least 1s")
	})
}

func TestSerialNumbers(t *testing.T) {
	ca := newCA(t, domain)
	seen := make(map[string]bool)
	for range 20 {
		leaf, _ := issue(t, ca, "a", nil)
		n := leaf.SerialNumber
		if n.Sign() <= 0 || n.BitLen() > 128 || n.BitLen() < 64 || seen[n.String()] {
			t.Errorf("serial number %v", n)
		}
		seen[n.String()] = true
	}
}

// TestAuthorityCertificate: what its certificate forbids the authority, crypto/x509
// itself enforces, for those who trust it in a pool of their own.
func TestAuthorityCertificate(t *testing.T) {
	ca := newCA(t, domain)
	if ca.Cert.MaxPathLen != 0 || !ca.Cert.MaxPathLenZero || !ca.Cert.IsCA {
		t.Error("path length is not 0")
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	verify := func(leaf *x509.Certificate) error {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	for id, allowed := range map[string]bool{
		"spiffe://shop.internal/a":       true,
		"spiffe://evil.internal/a":       false,
		"spiffe://evilshop.internal/a":   false,
		"spiffe://internal/a":            false,
		"spiffe://shop.internal.evil/a":  false,
		"spiffe://sub.shop.internal/a":   true, // crypto/x509's reading; our bundles refuse it
		"https://evil.internal/whatever": false,
	} {
		leaf, _ := issue(t, ca, "a", func(c *x509.Certificate) { c.URIs = []*url.URL{uri(id)} })
		if err := verify(leaf); (err == nil) != allowed {
			t.Errorf("%s: %v", id, err)
		}
	}
	sub, subKey := issue(t, ca, "a", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	leaf := sign(t, sub, subKey, leafTemplate("spiffe://shop.internal/b"))
	if _, _, err := join(t, trustOf(t, ca)).Verify([]*x509.Certificate{leaf, sub}, time.Now()); err == nil {
		t.Error("an authority below the authority was accepted")
	}
}

func leafTemplate(id string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, URIs: []*url.URL{uri(id)}, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

// sign issues a certificate for a new P-256 key under any parent.
func sign(t testing.TB, parent *x509.Certificate, parentKey any, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey))))
}

func TestCheckLeaf(t *testing.T) {
	ca := newCA(t, domain)
	sanWith := func(der []byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = nil
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}
		}
	}
	rawURI := func(uris ...string) []byte {
		var names []asn1.RawValue
		for _, s := range uris {
			names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(s)})
		}
		return must(asn1.Marshal(names))
	}
	for name, c := range map[string]struct {
		modify func(*x509.Certificate)
		says   string
	}{
		"two URI SANs":          {func(c *x509.Certificate) { c.URIs = append(c.URIs, uri("spiffe://shop.internal/b")) }, "2 URI names"},
		"no URI SAN":            {func(c *x509.Certificate) { c.URIs = nil; c.DNSNames = []string{"a"} }, "0 URI names"},
		"another URI beside it": {func(c *x509.Certificate) { c.URIs = append(c.URIs, uri("https://shop.internal/a")) }, "2 URI names"},
		"no SPIFFE ID":          {func(c *x509.Certificate) { c.URIs = []*url.URL{uri("https://shop.internal/a")} }, "does not begin with spiffe://"},
		"upper-case scheme":     {sanWith(rawURI("SPIFFE://shop.internal/a")), "does not begin with spiffe://"},
		"empty fragment":        {sanWith(rawURI("spiffe://shop.internal/a#")), "service name"},
		"percent-encoded":       {sanWith(rawURI("spiffe://shop.internal/a%2e")), "service name"},
		"parent segment":        {func(c *x509.Certificate) { c.URIs[0].Path = "/a/../b" }, "service name"},
		"control character":     {func(c *x509.Certificate) { c.URIs[0].Path = "/a\x01" }, "service name"},
		"over 255 bytes":        {func(c *x509.Certificate) { c.URIs[0].Path = "/" + strings.Repeat("a", 256) }, "256 bytes"},
		"empty service":         {func(c *x509.Certificate) { c.URIs[0].Path = "/" }, "empty"},
		"ID without a path":     {func(c *x509.Certificate) { c.URIs[0].Path = "" }, "names no service"},
		"CA leaf":               {func(c *x509.Certificate) { c.IsCA = true }, "CA certificate"},
		"may sign certificates": {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "signing"},
		"may sign lists":        {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, "signing"},
		"no digitalSignature":   {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, "digitalSignature"},
		"wrong EKU":             {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }, "clientAuth"},
		"client EKU only":       {func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, "serverAuth"},
		"server EKU only":       {func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "clientAuth"},
		"no EKU":                {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "clientAuth"},
		"any EKU":               {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "clientAuth"},
		"too many DNS names": {func(c *x509.Certificate) {
			for i := range keys.MaxDNSNames + 1 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("n%d", i))
			}
		}, "DNS names"},
	} {
		t.Run(name, func(t *testing.T) {
			leaf, _ := issue(t, ca, "a", c.modify)
			id, err := keys.CheckLeaf(leaf)
			wantError(t, err, keys.ErrNotSPIFFE, c.says)
			if id != (keys.ID{}) {
				t.Errorf("with the error came %v", id)
			}
			if _, _, err := join(t, trustOf(t, ca)).Verify([]*x509.Certificate{leaf}, time.Now()); err == nil {
				t.Error("Verify accepted it")
			}
		})
	}
	t.Run("nil", func(t *testing.T) {
		_, err := keys.CheckLeaf(nil)
		wantError(t, err, keys.ErrNotSPIFFE)
	})
	t.Run("never parsed", func(t *testing.T) {
		_, err := keys.CheckLeaf(leafTemplate("spiffe://shop.internal/a"))
		wantError(t, err, keys.ErrNotSPIFFE)
	})
}

func TestCheckLeafKeys(t *testing.T) {
	root := must(rsa.GenerateKey(rand.Reader, 2048))
	template := leafTemplate("spiffe://shop.internal/a")
	for name, key := range map[string]any{
		"P-384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public(),
		"RSA 1024": must(rsa.GenerateKey(rand.Reader, 1024)).Public(),
		// A modulus that a peer made up to have us compute for seconds.
		"RSA 16384": &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 16383, 1), E: 65537},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key, root))))
			_, err := keys.CheckLeaf(leaf)
			wantError(t, err, keys.ErrNotSPIFFE, "key")
		})
	}
}

func TestSignerNeverPrints(t *testing.T) {
	for _, kind := range []keys.Algorithm{keys.P256, keys.Ed25519, keys.RSA2048} {
		_, key, err := newCA(t, domain).Issue(keys.Request{Service: "a", Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		want := "private key (not shown)"
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, key); got != want {
				t.Errorf("%s of kind %d prints %s", verb, kind, got)
			}
			hidden := struct{ inner keys.Signer }{key}
			if got := fmt.Sprintf(verb, hidden); len(got) > 100 {
				t.Errorf("%s of kind %d in an unexported field prints %s", verb, kind, got)
			}
		}
	}
}
