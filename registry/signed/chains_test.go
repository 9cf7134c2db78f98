package signed_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// pki is a CA as others run it: a root, and CAs below it that issue the leaves.
type pki struct {
	t     *testing.T
	chain []*x509.Certificate // the issuing CA first, the root last
	key   crypto.Signer       // of the issuing CA
}

func newPKI(t *testing.T, below int) *pki {
	p := &pki{t: t}
	for i := range below + 1 {
		key := newKey(t, "P-256")
		cert := p.sign(key.Public(), key, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "CA " + string(rune('0'+i))},
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		})
		p.chain, p.key = append([]*x509.Certificate{cert}, p.chain...), key
	}
	return p
}

// sign has the issuing CA sign, or self if there is none yet.
func (p *pki) sign(public crypto.PublicKey, self crypto.Signer, template *x509.Certificate) *x509.Certificate {
	p.t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, key := template, self
	if len(p.chain) > 0 {
		parent, key = p.chain[0], p.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return cert
}

func newKey(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes an identity by way of its files.
func (p *pki) issue(service, kind string) *identity.Identity {
	p.t.Helper()
	dir, key := p.t.TempDir(), newKey(p.t, kind)
	if err := newFleet(p.t).issue(service).Save(dir); err != nil { // for the box key
		p.t.Fatal(err)
	}
	leaf := p.sign(key.Public(), nil, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "shop.internal", Path: "/" + service}},
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	chain := pemOf("CERTIFICATE", leaf.Raw)
	for _, ca := range p.chain[:len(p.chain)-1] {
		chain = append(chain, pemOf("CERTIFICATE", ca.Raw)...)
	}
	for name, data := range map[string][]byte{
		"tls.crt": chain,
		"tls.key": pemOf("PRIVATE KEY", private),
		"ca.crt":  pemOf("CERTIFICATE", p.chain[len(p.chain)-1].Raw),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
		p.t.Fatal(err)
	}
	id, err := identity.Load(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = id.Close() })
	return id
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestKindsOfKeys(t *testing.T) {
	for _, kind := range []string{"P-256", "RSA", "Ed25519"} {
		t.Run(kind, func(t *testing.T) {
			p, inner, rejected := newPKI(t, 0), newBoard(), new(rejections)
			reader := wrap(t, inner, p.issue("reader", kind), rejected.hook())
			mustRegister(t, wrap(t, inner, p.issue("greeter", kind)), greeter(node("a", address)))
			wantNodes(t, reader, "greeter", "a@"+address)
			rejected.want(t)
			changed := inner.one(t, "greeter")
			changed.Nodes[0].Address = "10.6.6.6:1"
			mustRegister(t, inner, changed)
			wantNodes(t, reader, "greeter")
			rejected.want(t, signed.Altered)
		})
	}
}

func TestChainsOfIntermediates(t *testing.T) {
	p, rejected := newPKI(t, 2), new(rejections)
	inner := newBoard()
	signer := p.issue("greeter", "P-256")
	reader := wrap(t, inner, p.issue("reader", "P-256"), rejected.hook())
	mustRegister(t, wrap(t, inner, signer), greeter(node("a", address)))
	wantNodes(t, reader, "greeter", "a@"+address)
	rejected.want(t)
	cert, err := signer.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string][][]byte{
		"without its end":        cert.Certificate[:2],
		"without its middle":     {cert.Certificate[0], cert.Certificate[2]},
		"leaf alone":             cert.Certificate[:1],
		"an intermediate's leaf": cert.Certificate[1:],
	} {
		t.Run(name, func(t *testing.T) {
			forged := greeter(node("b", address))
			if err := signed.Forge(signer, forged, signed.Forgery{Chain: chain}); err != nil {
				t.Fatal(err)
			}
			inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, forged) })
			wantNodes(t, reader, "greeter", "a@"+address)
			rejected.want(t, signed.Untrusted)
		})
	}
	t.Run("spoilt intermediate", func(t *testing.T) {
		spoilt := [][]byte{cert.Certificate[0], slices.Clone(cert.Certificate[1]), cert.Certificate[2]}
		spoilt[1][len(spoilt[1])-1] ^= 1 // of its signature
		forged := greeter(node("b", address))
		if err := signed.Forge(signer, forged, signed.Forgery{Chain: spoilt}); err != nil {
			t.Fatal(err)
		}
		inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, forged) })
		wantNodes(t, reader, "greeter", "a@"+address)
		rejected.want(t, signed.Untrusted)
	})
}
