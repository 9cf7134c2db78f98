package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func revokeCommand() command {
	return command{
		name:     "revoke",
		synopsis: "[FLAGS] SERVICE",
		summary:  "stop trusting a service, everywhere",
		details: `
Enters every leaf of SERVICE that has not ended, renewed ones included, in the
authority's revocation list, and copies the list as ca.crl to every identity
directory under DIRECTORY. Running services pick it up, close the connections of
the revoked service, and drop its records and keys.

Identities that live elsewhere need DIRECTORY/authority/ca.crl as their ca.crl.
Revoking again copies the list again and changes nothing else.`,
		examples: []string{
			"signet revoke --keys keys greeter",
			"signet revoke greeter --keys keys --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			root := keysFlag(fs, "keys", "`directory` that holds authority/ and the identities")
			return func(s *session, args []string) error { return runRevoke(s, string(*root), args[0]) }
		},
	}
}

// revocation is the outcome of a revoke command.
type revocation struct {
	ID        string    `json:"id"`
	Revoked   []string  `json:"revoked"`         // serials, hexadecimal, entered now
	Already   []string  `json:"already_revoked"` // serials that were in the list before
	CRLNumber string    `json:"crl_number"`
	CRL       string    `json:"crl"`
	Copied    []string  `json:"copied_to"`
	Skipped   []skipped `json:"not_copied_to"`
}

type skipped struct {
	Directory string `json:"directory"`
	Reason    string `json:"reason"`
	failed    bool   // it should have had the list
}

func runRevoke(s *session, root, service string) error {
	dir, err := serviceDir(root, service)
	if err != nil {
		return usagef("%s; revoke takes the name of a service", err)
	}
	a, unlock, err := openAuthority(root)
	if err != nil {
		return err
	}
	defer unlock()
	leaves, err := a.leavesOf(s, service, dir)
	if err != nil {
		return err
	}
	list, err := a.list()
	if err != nil {
		return err
	}
	out := revocation{
		ID:  keys.ID{TrustDomain: a.Domain, Service: service}.String(),
		CRL: filepath.Join(a.dir, keys.CRLFile), Revoked: []string{}, Already: []string{}, Copied: []string{}, Skipped: []skipped{},
	}
	var fresh []*x509.Certificate
	for _, leaf := range leaves {
		if revokes(list, leaf) {
			out.Already = append(out.Already, serial(leaf))
		} else {
			fresh = append(fresh, leaf)
			out.Revoked = append(out.Revoked, serial(leaf))
		}
	}
	if len(fresh) > 0 {
		if a.trust, err = a.RevokeIn(a.dir, a.trust, fresh...); err != nil {
			return err
		}
		if list, err = a.list(); err != nil {
			return err
		}
	}
	out.CRLNumber = list.Number.String()
	if err := a.distribute(root, &out); err != nil {
		return fmt.Errorf("revoked, but the list was not copied everywhere: %w", err)
	}
	return s.printRevocation(out)
}

// leavesOf collects the leaves of a service that have not ended: those in the
// ledger, and the one in its directory, which a program may have issued.
func (a *authority) leavesOf(s *session, service, dir string) ([]*x509.Certificate, error) {
	now := time.Now()
	issued, err := readLedger(a.dir, now)
	if err != nil {
		return nil, err
	}
	var leaves []*x509.Certificate
	inLedger := make(map[string]bool)
	for _, leaf := range issued {
		if id, err := keys.CheckLeaf(leaf); err == nil && id.Service == service && a.owns(leaf) {
			leaves = append(leaves, leaf)
			inLedger[serial(leaf)] = true
		}
	}
	chain, id, err := readChain(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.warnf("revoking what the authority's records hold; the directory itself is unreadable: %v", err)
	case id.Service == service && a.owns(chain[0]) && !inLedger[serial(chain[0])] && now.Before(chain[0].NotAfter):
		leaves = append(leaves, chain[0])
	}
	if len(leaves) == 0 {
		return nil, withHint(fmt.Errorf("no leaf of %s in force: none in %s, none in %s", service, filepath.Join(a.dir, ledgerFile), dir),
			"check the name and --keys; a leaf that has ended needs no revoking")
	}
	return leaves, nil
}

// distribute copies the list to every identity directory under root. It goes on
// after a failure, because each directory that gets the list is one more that is
// safe, and tells of each one that did not.
func (a *authority) distribute(root string, out *revocation) error {
	root, err := filepath.EvalSymlinks(root) // WalkDir would not enter a link
	if err != nil {
		return err
	}
	own := filepath.Join(root, authorityDir)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			out.skip(path, err)
		case path == own && d.IsDir(), d.IsDir() && d.Name() == keys.TrustDir && isIdentity(filepath.Dir(path)):
			return fs.SkipDir
		case path != own && linksToDir(path, d):
			out.skip(path, errors.New("a symbolic link, not followed"))
		case d.IsDir() && isIdentity(path):
			if err := a.copyList(path); err != nil {
				out.skip(path, err)
			} else {
				out.Copied = append(out.Copied, path)
			}
		}
		return nil
	})
}

// linksToDir finds what might hold identities that the walk does not see. Names
// such as ..data are how Kubernetes swaps the files of one directory.
func linksToDir(path string, d fs.DirEntry) bool {
	if d.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(d.Name(), "..") {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isIdentity(dir string) bool {
	_, found := anyOf(dir, keys.LeafFile)
	return found
}

func (a *authority) copyList(dir string) error {
	merged, err := a.mergeLists(dir)
	if err != nil {
		return err
	}
	return keys.WriteFile(filepath.Join(dir, keys.CRLFile), merged, keys.PublicMode)
}

func (r *revocation) skip(dir string, err error) {
	r.Skipped = append(r.Skipped, skipped{dir, err.Error(), !errors.Is(err, errForeign)})
}

func (r *revocation) incomplete() bool {
	for _, s := range r.Skipped {
		if s.failed {
			return true
		}
	}
	return false
}

func (s *session) printRevocation(r revocation) error {
	var err error
	if s.json {
		err = s.printJSON(r)
	} else {
		err = s.printRevocationText(r)
	}
	if err != nil {
		return err
	}
	if r.incomplete() {
		return withHint(errors.New("some directories did not get the revocation list"),
			"repair them and run the same command again, or copy %s there as ca.crl", r.CRL)
	}
	return nil
}

func (s *session) printRevocationText(r revocation) error {
	fields := []field{{"list", fmt.Sprintf("%s, number %s", r.CRL, r.CRLNumber)}}
	for _, serial := range r.Revoked {
		fields = append(fields, field{"revoked", "serial " + serial})
	}
	for _, serial := range r.Already {
		fields = append(fields, field{"was revoked", "serial " + serial})
	}
	for _, dir := range r.Copied {
		fields = append(fields, field{"copied to", dir})
	}
	for _, skip := range r.Skipped {
		fields = append(fields, field{"not copied", skip.Directory + ": " + skip.Reason})
	}
	err := s.printFields("Revoked "+r.ID, fields)
	s.printNext(fmt.Sprintf("copy %s as ca.crl to identities that live elsewhere", shellWord(r.CRL)))
	return err
}
