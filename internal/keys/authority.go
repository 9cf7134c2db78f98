package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"crypto/x509"
)

// Write puts the authority in a directory that does not hold one yet, made with
// DirMode if need be.
func (ca *CA) Write(dir string, trust *DomainTrust) error {
	if err := os.MkdirAll(dir, DirMode); err != nil {
		return err
	}
	key, err := encodeKey(ca.key)
	if err != nil {
		return err
	}
	err = CreateFile(filepath.Join(dir, CAKeyFile), key, SecretMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: an authority is there already: choose another directory: %w", dir, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(dir, CRLFile), trust.EncodeCRLs(), PublicMode); err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, CAFile), EncodeCertificates(ca.Cert), PublicMode)
}

// ReadCA reads an authority's directory: its key, the one certificate that
// belongs to it, and its revocation list. The list must be there: starting a new
// one would give numbers out again that services have already seen.
func ReadCA(dir string, o ReadOptions) (*CA, *DomainTrust, error) {
	now := time.Now()
	r := newReader(dir, o, now)
	data, err := r.read(CAKeyFile, MaxKeyFile, r.secret)
	if err != nil {
		return nil, nil, err
	}
	key, err := ParseSigner(data)
	if err != nil {
		return nil, nil, r.in(CAKeyFile, err)
	}
	if data, err = r.read(CAFile, MaxCertFile, public); err != nil {
		return nil, nil, err
	}
	certs, err := ParseCertificates(data, 1)
	if err != nil {
		return nil, nil, r.in(CAFile, err)
	}
	cert := certs[0]
	if err := checkCA(cert); err != nil {
		return nil, nil, r.in(CAFile, err)
	}
	if !sameKey(cert.PublicKey, key.Public()) {
		return nil, nil, fmt.Errorf("%s: %w in %s: put the pair that was made together in place", r.path(CAKeyFile), ErrMismatch, CAFile)
	}
	domain, err := domainOfCA(cert)
	if err != nil {
		return nil, nil, r.in(CAFile, err)
	}
	if err := checkTimes(cert, now); err != nil {
		return nil, nil, r.in(CAFile, err)
	}
	if data, err = r.read(CRLFile, MaxCRLFile, public); err != nil {
		return nil, nil, fmt.Errorf("%w: copy the newest %s back from an identity directory", err, CRLFile)
	}
	crls, err := ParseCRLs(data, certs, now)
	if err != nil {
		return nil, nil, r.in(CRLFile, err)
	}
	trust, err := NewDomainTrust(domain, certs, crls)
	if err != nil {
		return nil, nil, r.in(CAFile, err)
	}
	return &CA{Domain: domain, Cert: cert, key: key}, trust, nil
}

// domainOfCA reads the trust domain out of an authority's name constraint.
func domainOfCA(cert *x509.Certificate) (string, error) {
	if len(cert.PermittedURIDomains) != 1 {
		return "", fmt.Errorf("%w: not an authority of Signet: it is not constrained to the URIs of one trust domain", ErrUntrusted)
	}
	domain := cert.PermittedURIDomains[0]
	return domain, CheckTrustDomain(domain)
}

// RevokeIn enters certificates, and all that known revokes, in the revocation list
// of a directory that the authority was written to, and returns the new trust.
// Processes that revoke at the same time wait for each other, so that no entry is
// lost.
func (ca *CA) RevokeIn(dir string, known *DomainTrust, certs ...*x509.Certificate) (trust *DomainTrust, err error) {
	unlock, err := lockFile(filepath.Join(dir, CAKeyFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	r := newReader(dir, ReadOptions{}, time.Now())
	data, err := r.read(CRLFile, MaxCRLFile, public)
	if err != nil {
		return nil, err
	}
	cas := []*x509.Certificate{ca.Cert}
	crls, err := ParseCRLs(data, cas, r.now)
	if err != nil {
		return nil, r.in(CRLFile, err)
	}
	written, err := NewDomainTrust(ca.Domain, cas, crls)
	if err != nil {
		return nil, err
	}
	if trust, err = ca.revoke([]*DomainTrust{written, known}, certs); err != nil {
		return nil, err
	}
	return trust, WriteFile(r.path(CRLFile), trust.EncodeCRLs(), PublicMode)
}
