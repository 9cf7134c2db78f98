package keys

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// MaxDNSNames bounds the DNS names of a leaf.
const MaxDNSNames = 64

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// tagURI is the context tag of uniformResourceIdentifier in GeneralName
// (RFC 5280, section 4.2.1.6).
const tagURI = 6

// CheckLeaf decides whether a certificate has the shape of a service's leaf and
// returns the ID in it. It says nothing of who issued it or when it is valid. The
// rules are those of the X.509-SVID specification, sections 2 to 4, made
// stricter where a service needs it: one URI, no CA, digitalSignature, and both
// the client and the server extended key usage.
func CheckLeaf(cert *x509.Certificate) (ID, error) {
	if cert == nil || len(cert.Raw) == 0 {
		return ID{}, fmt.Errorf("%w: no certificate", ErrNotSPIFFE)
	}
	uris, err := rawURIs(cert)
	if err != nil {
		return ID{}, err
	}
	if len(uris) != 1 {
		return ID{}, fmt.Errorf("%w: %d URI names in the certificate: want exactly one, the SPIFFE ID", ErrNotSPIFFE, len(uris))
	}
	id, err := ParseID(uris[0])
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrNotSPIFFE, err)
	}
	refuse := func(why string) (ID, error) {
		return ID{}, fmt.Errorf("%w: %s: %s", ErrNotSPIFFE, id, why)
	}
	switch {
	case cert.IsCA:
		return refuse("it is a CA certificate: issue a leaf")
	case cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse("key usage lacks digitalSignature")
	case cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return refuse("key usage allows signing certificates or revocation lists")
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return refuse("extended key usage lacks clientAuth: a service is client and server")
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return refuse("extended key usage lacks serverAuth: a service is client and server")
	case len(cert.DNSNames) > MaxDNSNames:
		return refuse(fmt.Sprintf("%d DNS names: at most %d", len(cert.DNSNames), MaxDNSNames))
	}
	if err := checkPublic(cert.PublicKey, true); err != nil {
		return refuse(err.Error())
	}
	return id, nil
}

// rawURIs returns the URI names of a certificate as they are encoded. The parsed
// ones will not do: net/url lower-cases the scheme and drops an empty fragment,
// and an ID that was compared must be the ID that was signed.
func rawURIs(cert *x509.Certificate) ([]string, error) {
	malformed := fmt.Errorf("%w: malformed subject alternative name", ErrNotSPIFFE)
	var uris []string
	seen := false
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		if seen {
			return nil, malformed
		}
		seen = true
		var names asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 || names.Tag != asn1.TagSequence {
			return nil, malformed
		}
		for rest := names.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, malformed
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}

// checkDNSNames accepts host names as they are compared: exactly, so a wildcard
// would only ever match itself and is refused.
func checkDNSNames(names []string) error {
	if len(names) > MaxDNSNames {
		return fmt.Errorf("%w: %d DNS names: at most %d", ErrInvalidName, len(names), MaxDNSNames)
	}
	for _, name := range names {
		if len(name) > 253 {
			return fmt.Errorf("%w: a DNS name of %d bytes: at most 253", ErrInvalidName, len(name))
		}
		for label := range strings.SplitSeq(name, ".") {
			if !validLabel(label) {
				return fmt.Errorf("%w: DNS name %s: want labels of 1 to 63 letters, digits, hyphens and underscores", ErrInvalidName, Quote(name))
			}
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 {
		return false
	}
	for i := range len(label) {
		c := label[i]
		if !lowerDigit(c) && !('A' <= c && c <= 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
