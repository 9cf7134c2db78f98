package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// maxCRLs bounds the lists of one trust domain: one for each CA in its bundle.
const maxCRLs = MaxCAs

// CRL is a certificate revocation list (RFC 5280, section 5) that a trusted CA
// has signed.
//
// A list is in force from ThisUpdate to NextUpdate and says so for its CA only.
// After NextUpdate nothing that its CA issued verifies until a newer list is
// there: whoever can keep a list from arriving could otherwise undo a
// revocation. A CA that has no list at all is not held to have one.
type CRL struct {
	list    *x509.RevocationList
	issuer  *x509.Certificate
	revoked map[string]struct{} // serial numbers, as big-endian bytes
}

// ParseCRLs reads PEM revocation lists and checks each against the CA that must
// have signed it.
func ParseCRLs(data []byte, cas []*x509.Certificate, now time.Time) ([]*CRL, error) {
	if len(data) > 0 && data[0] == 0x30 {
		return nil, fmt.Errorf("%w: the list is in DER: convert it with openssl crl -inform DER -out ca.crl", ErrPEM)
	}
	found, err := blocks(data, maxCRLs, pemCRL)
	if err != nil {
		return nil, err
	}
	crls := make([]*CRL, 0, len(found))
	for i, block := range found {
		crl, err := parseCRL(block.Bytes, cas, now)
		if err != nil {
			return nil, fmt.Errorf("revocation list %d: %w", i+1, err)
		}
		for _, other := range crls {
			if other.issuedBy(crl.issuer) {
				return nil, fmt.Errorf("revocation list %d: a second list of the same CA: keep the newest", i+1)
			}
		}
		crls = append(crls, crl)
	}
	return crls, nil
}

func parseCRL(der []byte, cas []*x509.Certificate, now time.Time) (*CRL, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	issuer, err := crlIssuer(list, cas)
	if err != nil {
		return nil, err
	}
	if list.Number == nil {
		return nil, errors.New("it has no CRL number, so that an old list could not be told from a new one")
	}
	// A critical extension that we do not apply may limit the list to some
	// certificates, or make it a mere difference to another (RFC 5280, 5.2).
	for _, ext := range list.Extensions {
		if ext.Critical {
			return nil, fmt.Errorf("critical extension %v is not supported: issue a full list", ext.Id)
		}
	}
	if list.ThisUpdate.After(now.Add(ClockSkew)) {
		return nil, fmt.Errorf("%w: its list begins at %s, now is %s: check the clock", ErrNotYetValid, stamp(list.ThisUpdate), stamp(now))
	}
	crl := &CRL{list: list, issuer: issuer, revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
	if err := crl.checkFresh(now); err != nil {
		return nil, err
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, ext := range entry.Extensions {
			if ext.Critical {
				return nil, fmt.Errorf("critical entry extension %v is not supported: issue a direct list", ext.Id)
			}
		}
		crl.revoked[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return crl, nil
}

// crlIssuer finds the trusted CA whose signature a list bears.
func crlIssuer(list *x509.RevocationList, cas []*x509.Certificate) (*x509.Certificate, error) {
	for _, ca := range cas {
		if bytes.Equal(ca.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(ca) == nil {
			return ca, nil
		}
	}
	return nil, fmt.Errorf("%w: no CA of this trust domain has signed it", ErrUntrusted)
}

func (c *CRL) checkFresh(now time.Time) error {
	if next := c.list.NextUpdate; next.IsZero() || now.After(next) {
		return fmt.Errorf("%w: the list of CA %s ended at %s, now is %s: fetch a newer one", ErrStaleCRL, Quote(c.issuer.Subject.CommonName), stamp(next), stamp(now))
	}
	return nil
}

// issuedBy reports whether c speaks for certificates that ca has signed. A CA is
// its name and key: a renewed CA certificate is the same CA.
func (c *CRL) issuedBy(ca *x509.Certificate) bool { return sameCA(c.issuer, ca) }

func sameCA(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

func (c *CRL) revokes(cert *x509.Certificate) bool {
	_, ok := c.revoked[string(cert.SerialNumber.Bytes())]
	return ok
}

// newCRL signs a list of revoked certificates, the successor of number.
func newCRL(ca *x509.Certificate, key Signer, number *big.Int, entries []x509.RevocationListEntry, now time.Time) (*CRL, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:                    new(big.Int).Add(number, big.NewInt(1)),
		ThisUpdate:                now.Add(-ClockSkew),
		NextUpdate:                ca.NotAfter,
		RevokedCertificateEntries: entries,
	}, ca, key)
	if err != nil {
		return nil, fmt.Errorf("sign the revocation list: %w", err)
	}
	return parseCRL(der, []*x509.Certificate{ca}, now)
}

func encodeCRLs(crls []*CRL) []byte {
	var out []byte
	for _, crl := range crls {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCRL, Bytes: crl.list.Raw})...)
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
