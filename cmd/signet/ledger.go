package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// The ledger holds every leaf that this command issued and that has not
// expired, as PEM, in authority/issued.crt. Revoking a service must reach all
// its live leaves, also those that renewal replaced and those whose directory
// is lost; the files of an identity know only the newest.
const (
	ledgerFile   = "issued.crt"
	ledgerBytes  = 64 << 20
	ledgerLeaves = 50_000
)

// readLedger returns the leaves that have not expired, oldest first. No file is
// no leaves.
func readLedger(authority string, now time.Time) ([]*x509.Certificate, error) {
	path := filepath.Join(authority, ledgerFile)
	data, err := readBounded(path, ledgerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	certs, err := keys.ParseCertificates(data, ledgerLeaves)
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", path, err),
			"restore the file from a backup: without it, revocation misses leaves that renewal replaced")
	}
	var live []*x509.Certificate
	for _, cert := range certs {
		if now.Before(cert.NotAfter) {
			live = append(live, cert)
		}
	}
	return live, nil
}
