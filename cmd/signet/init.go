package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func initCommand() command {
	return command{
		name:     "init",
		synopsis: "--trust-domain DOMAIN [FLAGS] DIRECTORY",
		summary:  "make an authority, which issues identities",
		details: `
Makes a certificate authority for one trust domain in DIRECTORY/authority: its
private key, its certificate, valid for ten years, and an empty revocation list.
Every service of the trust domain trusts whoever holds the private key: keep the
directory away from the machines that run services, and back it up.

An authority that is there already is left alone. With --force it is replaced,
and everything it issued is worthless from then on.`,
		examples: []string{
			"signet init --trust-domain shop.internal keys",
			"signet init keys --trust-domain shop.internal --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			domain := fs.String("trust-domain", "", "`name` that all identities share, such as shop.internal (required)")
			force := fs.Bool("force", false, "replace the authority that is there, and all trust in it")
			return func(s *session, args []string) error {
				if *domain == "" {
					return usagef("--trust-domain is missing: give one such as --trust-domain shop.internal")
				}
				if err := keys.CheckTrustDomain(*domain); err != nil {
					return usagef("%s", err)
				}
				return runInit(s, args[0], *domain, *force)
			}
		},
	}
}

func runInit(s *session, root, domain string, force bool) error {
	dir := filepath.Join(root, authorityDir)
	ca, err := keys.NewCA(domain, keys.DefaultCALifetime)
	if err != nil {
		return err
	}
	trust, err := ca.NewTrust()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, keys.DirMode); err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if force {
		if err := removeAuthority(dir); err != nil {
			return err
		}
	} else if name, found := anyOf(dir, keys.CAKeyFile, keys.CAFile, keys.CRLFile, ledgerFile); found {
		return withHint(fmt.Errorf("%s exists already", name),
			"to replace the authority, and make everything it issued worthless, add --force")
	}
	if err := ca.Write(dir, trust); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(struct {
			TrustDomain string    `json:"trust_domain"`
			Directory   string    `json:"directory"`
			NotAfter    time.Time `json:"not_after"`
			SHA256      string    `json:"sha256"`
		}{domain, dir, ca.Cert.NotAfter.UTC(), sha256Hex(ca.Cert.Raw)})
	}
	err = s.printFields(fmt.Sprintf("Made the authority of %s in %s", domain, dir), []field{
		{keys.CAKeyFile, "private key, mode 0600: keep it off the machines that run services"},
		{keys.CAFile, "certificate, valid until " + moment(ca.Cert.NotAfter, time.Now())},
		{keys.CRLFile, "revocation list, empty"},
		{"sha256", sha256Hex(ca.Cert.Raw)},
	})
	s.printNext(fmt.Sprintf("signet issue --keys %s greeter", shellWord(root)))
	return err
}

// removeAuthority removes the files of an authority, the key first: a directory
// with a key only half replaced would look like an authority.
func removeAuthority(dir string) error {
	for _, name := range []string{keys.CAKeyFile, keys.CAFile, keys.CRLFile, ledgerFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// anyOf returns the path of the first name that exists in dir.
func anyOf(dir string, names ...string) (string, bool) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return path, true
		}
	}
	return "", false
}
