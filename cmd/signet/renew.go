package main

import (
	"crypto/hpke"
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

func renewCommand() command {
	return command{
		name:     "renew",
		synopsis: "[FLAGS] IDENTITY-DIRECTORY",
		summary:  "give an identity a new leaf and keep its box keys",
		details: `
Replaces tls.crt and tls.key by a new leaf with a new key: the same service, the
same DNS names, and the same length of life unless --valid-for says otherwise.
The box keys stay, so messages sealed before can still be opened. ca.crl becomes
the authority's newest. A running service picks all of it up without a restart.

Where there is a box.key and no pq.key, in a directory that an older signet made,
the post-quantum key is added. Without box.key the service makes both at each
start, and is left to do so.

The authority is looked for beside the identity (keys/authority for
keys/greeter), or under the directory that --keys names. The leaf may have
ended already. A revoked identity is not renewed.`,
		examples: []string{
			"signet renew keys/greeter",
			"signet renew keys/greeter --valid-for 30d",
			"signet renew --keys /secure/keys /srv/greeter/identity --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			root := keysFlag(fs, "", "`directory` that holds authority/ (default: found beside the identity)")
			var valid lifetime
			fs.Var(&valid, "valid-for", "`duration` of the new leaf's life, such as 720h or 30d (default: as before)")
			return func(s *session, args []string) error {
				return runRenew(s, args[0], string(*root), time.Duration(valid))
			}
		},
	}
}

func runRenew(s *session, dir, root string, valid time.Duration) error {
	dir = filepath.Clean(dir)
	chain, id, err := readChain(dir)
	if err != nil {
		return err
	}
	old := chain[0]
	if root == "" {
		if root, err = rootOf(dir, id.Service); err != nil {
			return err
		}
	}
	a, unlock, err := openAuthority(root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.mayRenew(dir, old); err != nil {
		return err
	}
	trust, err := a.newTrust(dir)
	if err != nil {
		return err
	}
	if valid == 0 {
		valid = max(life(old), shortLife)
	}
	leaf, key, err := a.issue(keys.Request{Service: id.Service, DNSNames: old.DNSNames, Lifetime: valid})
	if err != nil {
		return err
	}
	pq, err := missingPQ(dir)
	if err != nil {
		return err
	}
	// No box key in the set, nor a pq.key that is there: the files stay as they are.
	set := keys.Set{ID: id, Chain: []*x509.Certificate{leaf}, Key: key, PQ: pq, Trust: trust}
	if err := set.Write(dir); err != nil {
		return err
	}
	if _, err := keys.ReadSet(dir, keys.ReadOptions{}, time.Now()); err != nil {
		return withHint(fmt.Errorf("renewed, but no service would load it: %w", err), "run 'signet doctor %s'", shellWord(dir))
	}
	warnLongLife(s, leaf)
	warnOwner(s, dir, os.Stat)
	info := describeLeaf(dir, id, leaf)
	if s.json {
		return s.printJSON(info)
	}
	fields := info.fields(time.Now())
	if pq != nil {
		fields = append(fields, field{"added", keys.PQKeyFile + ", the post-quantum box key: hand out new cards"})
	}
	err = s.printFields(fmt.Sprintf("Renewed %s in %s", id, dir), fields)
	fmt.Fprintln(s.stdout, "\nServices that load this directory pick it up; nothing needs a restart.")
	return err
}

// missingPQ makes the post-quantum key that a directory with a box key lacks; nil if it
// does not lack one.
func missingPQ(dir string) (hpke.PrivateKey, error) {
	_, box := anyOf(dir, keys.BoxKeyFile)
	_, pq := anyOf(dir, keys.PQKeyFile)
	if !box || pq {
		return nil, nil
	}
	return keys.NewPQKey()
}

// warnOwner tells when the key belongs to whoever renewed it, and the service, which
// owns the directory, cannot read it.
func warnOwner(s *session, dir string, stat func(string) (fs.FileInfo, error)) {
	path := filepath.Join(dir, keys.LeafKeyFile)
	key, keyErr := stat(path)
	owner, dirErr := stat(dir)
	if keyErr == nil && dirErr == nil && !sameOwner(key, owner) {
		s.warnf("%s belongs to you and not to the owner of %s: chown it, or the service cannot read it", path, dir)
	}
}

// rootOf returns the keys directory that an identity directory belongs to: the
// service's path is taken off its end, or the last element if it lies elsewhere.
func rootOf(dir, service string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if root, ok := strings.CutSuffix(abs, string(filepath.Separator)+filepath.FromSlash(service)); ok && root != "" {
		return root, nil
	}
	return filepath.Dir(abs), nil
}

// mayRenew refuses leaves of other authorities, and revoked ones: who has the
// leaf key of a revoked identity may have its box keys as well.
func (a *authority) mayRenew(dir string, leaf *x509.Certificate) error {
	if !a.owns(leaf) {
		return withHint(fmt.Errorf("the leaf in %s was not issued by the authority in %s", dir, a.dir),
			"name the directory of its authority with --keys, or renew it where it came from")
	}
	list, err := a.list()
	if err != nil {
		return err
	}
	if revokes(list, leaf) {
		return withHint(fmt.Errorf("the leaf in %s: %w", dir, keys.ErrRevoked),
			"if the service is to come back, give it all new keys with 'signet issue --force'")
	}
	return nil
}

// newTrust returns the trust of an identity directory with the authority's
// newest revocation list in it.
func (a *authority) newTrust(dir string) (*keys.Trust, error) {
	merged, err := a.mergeLists(dir)
	if errors.Is(err, errForeign) {
		return nil, fmt.Errorf("%s: %w: add it, or the service would not trust its own leaf", dir, err)
	}
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(filepath.Join(dir, keys.CAFile))
	if err != nil {
		return nil, err
	}
	lists, err := keys.ParseCRLs(merged, bundle, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keys.CRLFile), err)
	}
	domain, err := keys.NewDomainTrust(a.Domain, bundle, lists)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keys.CAFile), err)
	}
	return keys.NewTrust(domain)
}
