package keys

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Lifetimes that a caller who names none gets.
const (
	DefaultCALifetime   = 10 * 365 * 24 * time.Hour
	DefaultLeafLifetime = 24 * time.Hour
)

// Algorithm is the kind of a leaf's key.
type Algorithm int

// P256 is the default; RSA2048 is here so that tests can make what comes from
// outside.
const (
	P256 Algorithm = iota
	Ed25519
	RSA2048
)

func (a Algorithm) generate() (crypto.Signer, error) {
	switch a {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
}

// CA is a certificate authority with its key: it issues the leaves of one trust
// domain. It is immutable and safe for concurrent use.
type CA struct {
	Domain string
	Cert   *x509.Certificate
	key    Signer
}

// NewCA makes an authority: P-256, path length 0, and constrained by name to the
// URIs of its trust domain, so that whoever trusts it for more than it is for is
// still safe. (RFC 5280 would not let the constraint cover subdomains; crypto/x509
// does. The rule that a bundle vouches for its own domain only closes that gap.)
func NewCA(domain string, lifetime time.Duration) (*CA, error) {
	if err := CheckTrustDomain(domain); err != nil {
		return nil, err
	}
	if lifetime <= 0 {
		return nil, fmt.Errorf("a lifetime of %v: give one above zero", lifetime)
	}
	key, err := P256.generate()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:                newSerial(),
		Subject:                     pkix.Name{Organization: []string{"Signet"}, CommonName: "Signet authority of " + cut(domain, 40)},
		NotBefore:                   now.Add(-ClockSkew),
		NotAfter:                    now.Add(lifetime),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{domain},
		URIs:                        []*url.URL{{Scheme: "spiffe", Host: domain}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{Domain: domain, Cert: cert, key: hide(key)}, nil
}

// Request says what leaf to issue.
type Request struct {
	Service  string        // valid service name
	DNSNames []string      // valid DNS names
	Lifetime time.Duration // DefaultLeafLifetime if zero
	Key      Algorithm
	// Modify may change the template before it is signed, after all checks. It is
	// there for tests that need certificates which ought to be refused.
	Modify func(*x509.Certificate)
}

// Issue makes a key and a leaf for it. The leaf begins ClockSkew ago, and ends no
// later than the authority itself.
func (ca *CA) Issue(r Request) (*x509.Certificate, Signer, error) {
	id, err := NewID(ca.Domain, r.Service)
	if err != nil {
		return nil, Signer{}, err
	}
	if err := checkDNSNames(r.DNSNames); err != nil {
		return nil, Signer{}, err
	}
	if r.Lifetime == 0 {
		r.Lifetime = DefaultLeafLifetime
	}
	if r.Lifetime < time.Second {
		return nil, Signer{}, fmt.Errorf("a lifetime of %v: give at least 1s", r.Lifetime)
	}
	now := time.Now()
	if err := checkTimes(ca.Cert, now); err != nil {
		return nil, Signer{}, fmt.Errorf("the authority: %w", err)
	}
	end := now.Add(r.Lifetime)
	if end.After(ca.Cert.NotAfter) {
		end = ca.Cert.NotAfter
	}
	key, err := r.Key.generate()
	if err != nil {
		return nil, Signer{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{Organization: []string{"Signet"}, CommonName: cut(r.Service, 64)},
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              r.DNSNames,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: id.TrustDomain, Path: "/" + id.Service}},
	}
	if r.Modify != nil {
		r.Modify(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	if err != nil {
		return nil, Signer{}, fmt.Errorf("sign the certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Signer{}, err
	}
	return cert, hide(key), nil
}

// NewTrust returns the authority's bundle with an empty revocation list.
func (ca *CA) NewTrust() (*DomainTrust, error) {
	crl, err := newCRL(ca.Cert, ca.key, new(big.Int), nil, time.Now())
	if err != nil {
		return nil, err
	}
	return NewDomainTrust(ca.Domain, []*x509.Certificate{ca.Cert}, []*CRL{crl})
}

// Revoke returns trust with the certificates entered in the authority's
// revocation list, whose number goes up by one. Certificates that another CA
// issued are refused.
func (ca *CA) Revoke(trust *DomainTrust, certs ...*x509.Certificate) (*DomainTrust, error) {
	return ca.revoke([]*DomainTrust{trust}, certs)
}

// revoke makes one list of what the authority's lists in several bundles hold, and
// of certs. The result is the first bundle with that list.
func (ca *CA) revoke(bundles []*DomainTrust, certs []*x509.Certificate) (*DomainTrust, error) {
	now := time.Now()
	number := new(big.Int)
	listed := make(map[string]bool)
	var entries []x509.RevocationListEntry
	add := func(entry x509.RevocationListEntry) {
		if serial := entry.SerialNumber.String(); !listed[serial] {
			listed[serial] = true
			entries = append(entries, entry)
		}
	}
	var others []*CRL
	for i, bundle := range bundles {
		for _, crl := range bundle.crls {
			if !crl.issuedBy(ca.Cert) {
				if i == 0 {
					others = append(others, crl)
				}
				continue
			}
			if crl.list.Number.Cmp(number) > 0 {
				number = crl.list.Number
			}
			for _, was := range crl.list.RevokedCertificateEntries {
				add(x509.RevocationListEntry{SerialNumber: was.SerialNumber, RevocationTime: was.RevocationTime, ReasonCode: was.ReasonCode})
			}
		}
	}
	for _, cert := range certs {
		if err := cert.CheckSignatureFrom(ca.Cert); err != nil {
			return nil, fmt.Errorf("%w: certificate %x was issued by another CA: revoke it there", ErrUntrusted, cert.SerialNumber)
		}
		add(x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: now})
	}
	crl, err := newCRL(ca.Cert, ca.key, number, entries, now)
	if err != nil {
		return nil, err
	}
	return NewDomainTrust(ca.Domain, bundles[0].cas, append(others, crl))
}

// NewBoxKey makes an X25519 key.
func NewBoxKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

// newSerial returns a positive random number of 128 bits, below the 20 bytes of
// RFC 5280, section 4.1.2.2.
func newSerial() *big.Int {
	var b [16]byte
	for {
		rand.Read(b[:])
		if n := new(big.Int).SetBytes(b[:]); n.Sign() > 0 {
			return n
		}
	}
}

// cut shortens a common name to what X.520 allows, 64 characters.
func cut(s string, most int) string { return s[:min(len(s), most)] }
