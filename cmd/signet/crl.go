package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"slices"

	"github.com/go-signet/signet/internal/keys"
)

const pemCRL = "X509 CRL"

// errForeign says that a directory trusts another authority than ours.
var errForeign = errors.New("its ca.crt does not hold this authority's certificate")

// decodeLists reads every revocation list in a PEM file, whoever signed it and
// however old it is, or fails: none is passed over.
func decodeLists(data []byte) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN "+pemCRL+"-----")) {
			return nil, fmt.Errorf("%w: list %d does not begin with -----BEGIN %s-----", keys.ErrPEM, len(lists)+1, pemCRL)
		}
		// Decode skips a block that it cannot read and takes the next.
		next := bytes.Index(rest[1:], []byte("-----BEGIN "))
		block, after := pem.Decode(rest)
		if block == nil || next >= 0 && len(rest)-len(after) > next+1 {
			return nil, fmt.Errorf("%w: list %d is damaged", keys.ErrPEM, len(lists)+1)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", len(lists)+1, err)
		}
		lists, rest = append(lists, list), after
	}
	return lists, nil
}

// list returns the authority's own revocation list in force.
func (a *authority) list() (*x509.RevocationList, error) {
	lists, err := decodeLists(a.trust.EncodeCRLs())
	if err != nil {
		return nil, err
	}
	if len(lists) != 1 || lists[0].Number == nil {
		return nil, fmt.Errorf("%s: want one numbered revocation list", filepath.Join(a.dir, keys.CRLFile))
	}
	return lists[0], nil
}

func revokes(list *x509.RevocationList, cert *x509.Certificate) bool {
	return slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return e.SerialNumber.Cmp(cert.SerialNumber) == 0
	})
}

// mergeLists returns what ca.crl of an identity directory has to hold so that
// our list is in force there and the lists of other CAs that it trusts stay as
// they are.
func (a *authority) mergeLists(dir string) ([]byte, error) {
	ours, err := a.list()
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(filepath.Join(dir, keys.CAFile))
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(bundle, a.is) {
		return nil, errForeign
	}
	path := filepath.Join(dir, keys.CRLFile)
	data, err := readBounded(path, keys.MaxCRLFile)
	if errors.Is(err, fs.ErrNotExist) {
		return encodeList(ours), nil
	}
	if err != nil {
		return nil, err
	}
	theirs, err := decodeLists(data)
	if err != nil {
		if len(bundle) == 1 {
			return encodeList(ours), nil // nothing but our own list can have been in it
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	merged := encodeList(ours)
	for _, list := range theirs {
		switch {
		case list.CheckSignatureFrom(a.Cert) != nil:
			merged = append(merged, encodeList(list)...)
		case newer(list.Number, ours.Number):
			return nil, fmt.Errorf("%s holds list number %v, the authority's is only %v: was the authority restored from an old backup? copy %s to %s",
				path, list.Number, ours.Number, path, filepath.Join(a.dir, keys.CRLFile))
		}
	}
	return merged, nil
}

func newer(a, b *big.Int) bool { return a != nil && a.Cmp(b) > 0 }

func encodeList(list *x509.RevocationList) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCRL, Bytes: list.Raw})
}

// is reports whether cert is the authority's own. A CA is its name and its key: a
// certificate of longer life for the same key is the same CA.
func (a *authority) is(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, a.Cert.RawSubject) &&
		bytes.Equal(cert.RawSubjectPublicKeyInfo, a.Cert.RawSubjectPublicKeyInfo)
}

func readBundle(path string) ([]*x509.Certificate, error) {
	data, err := readBounded(path, keys.MaxCertFile)
	if err != nil {
		return nil, err
	}
	bundle, err := keys.ParseCertificates(data, keys.MaxCAs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bundle, nil
}
