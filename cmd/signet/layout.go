package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"github.com/rogpeppe/go-internal/lockedfile"
)

const (
	authorityDir = "authority"
	lockFile     = ".lock"
)

// serviceDir maps a service name to its identity directory under root; slashes
// in the name become nested directories.
func serviceDir(root, service string) (string, error) {
	if err := keys.CheckService(service); err != nil {
		return "", err
	}
	for i, segment := range strings.Split(service, "/") {
		if reserved(i, segment) {
			return "", fmt.Errorf("%w: service name %s: %s is a file or directory of Signet's own: choose another",
				keys.ErrInvalidName, keys.Quote(service), keys.Quote(segment))
		}
	}
	path := filepath.FromSlash(service)
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("%w: service name %s is not a path on this system", keys.ErrInvalidName, keys.Quote(service))
	}
	return filepath.Join(root, path), nil
}

// reserved reports whether a segment of a service name would put an identity
// where the authority lies, or where another identity looks for a file or for
// federated trust. Case does not count, because for some file systems it does
// not.
func reserved(position int, segment string) bool {
	names := []string{keys.LeafFile, keys.LeafKeyFile, keys.CAFile, keys.CAKeyFile, keys.CRLFile, keys.BoxKeyFile, keys.PQKeyFile}
	if position == 0 {
		names = append(names, authorityDir)
	} else {
		names = append(names, keys.TrustDir)
	}
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, segment) })
}

// authority is the CA under a keys directory, locked for as long as a command
// works with it: two commands at once could otherwise lose an issued leaf.
type authority struct {
	*keys.CA
	dir   string
	trust *keys.DomainTrust
}

// openAuthority locks and reads root/authority. The caller must call unlock.
func openAuthority(root string) (a *authority, unlock func(), err error) {
	dir := filepath.Join(root, authorityDir)
	if _, err := os.Stat(filepath.Join(dir, keys.CAKeyFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, withHint(fmt.Errorf("no authority in %s", dir),
			"make one with 'signet init --trust-domain DOMAIN %s', or name another directory with --keys", root)
	}
	unlock, err = lock(dir)
	if err != nil {
		return nil, nil, err
	}
	ca, trust, err := keys.ReadCA(dir, keys.ReadOptions{})
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return &authority{CA: ca, dir: dir, trust: trust}, unlock, nil
}

// lock keeps other commands out of an authority's directory.
func lock(dir string) (unlock func(), err error) {
	return lockedfile.MutexAt(filepath.Join(dir, lockFile)).Lock()
}

// issue makes a leaf and enters it in the ledger, before anybody can use it.
func (a *authority) issue(r keys.Request) (*x509.Certificate, keys.Signer, error) {
	leaf, key, err := a.Issue(r)
	if err != nil {
		return nil, keys.Signer{}, err
	}
	live, err := readLedger(a.dir, time.Now())
	if err != nil {
		return nil, keys.Signer{}, err
	}
	data := keys.EncodeCertificates(append(live, leaf)...)
	if err := keys.WriteFile(filepath.Join(a.dir, ledgerFile), data, keys.SecretMode); err != nil {
		return nil, keys.Signer{}, err
	}
	return leaf, key, nil
}

// owns reports whether this authority issued a certificate.
func (a *authority) owns(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(a.Cert) == nil }

// readBounded reads a file up to a size in bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return data, nil
}

// readChain reads the certificate file of an identity, leaf first, and the ID of
// the leaf. It does not ask whether the leaf is valid now.
func readChain(dir string) ([]*x509.Certificate, keys.ID, error) {
	path := filepath.Join(dir, keys.LeafFile)
	data, err := readBounded(path, keys.MaxCertFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, keys.ID{}, noIdentity(dir, err)
	}
	if err != nil {
		return nil, keys.ID{}, err
	}
	chain, err := keys.ParseCertificates(data, keys.MaxChain)
	if err != nil {
		return nil, keys.ID{}, fmt.Errorf("%s: %w", path, err)
	}
	id, err := keys.CheckLeaf(chain[0])
	if err != nil {
		return nil, keys.ID{}, fmt.Errorf("%s: %w", path, err)
	}
	return chain, id, nil
}

func noIdentity(dir string, err error) error {
	if _, caErr := os.Stat(filepath.Join(dir, keys.CAKeyFile)); caErr == nil {
		return withHint(fmt.Errorf("%s holds an authority, not an identity", dir),
			"name the directory of a service, such as %s", filepath.Join(filepath.Dir(dir), "greeter"))
	}
	return withHint(fmt.Errorf("no identity in %s: %w", dir, err), "make one with 'signet issue', or name its directory")
}
