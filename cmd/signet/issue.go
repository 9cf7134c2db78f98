package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

func issueCommand() command {
	return command{
		name:     "issue",
		synopsis: "[FLAGS] SERVICE",
		summary:  "make the identity of a service",
		details: `
Makes the identity spiffe://TRUST-DOMAIN/SERVICE, signed by the authority in
DIRECTORY/authority, and writes it to DIRECTORY/SERVICE: tls.crt and tls.key,
ca.crt and ca.crl of the authority, and two box keys that others seal messages
to: box.key (X25519), and pq.key (MLKEM768-X25519) for the post-quantum suite.
SERVICE is the name that the service registers under; slashes in it become
nested directories.

An identity that is there already is left alone. With --force it is replaced by
one with new keys, the box keys included: messages sealed to the old box keys can
no longer be opened. To keep the box keys use 'signet renew'. The replaced leaf
stays valid until it ends; to cut it short, revoke the service first.`,
		examples: []string{
			"signet issue --keys keys greeter",
			"signet issue --keys keys greeter --valid-for 720h",
			"signet issue --keys keys greeter --dns greeter.shop.internal --dns greeter",
			"signet issue --keys keys shop/orders --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			root := keysFlag(fs, "keys", "`directory` that holds authority/ and the identities")
			life := lifetime(keys.DefaultLeafLifetime)
			fs.Var(&life, "valid-for", "`duration` of the leaf's life, such as 720h or 30d; at least 1m")
			var dns names
			fs.Var(&dns, "dns", "DNS `name` that the service may also serve under; may be repeated")
			force := fs.Bool("force", false, "replace the identity that is there, all its keys included")
			return func(s *session, args []string) error {
				r := keys.Request{Service: args[0], DNSNames: dns, Lifetime: time.Duration(life)}
				return runIssue(s, string(*root), r, *force)
			}
		},
	}
}

func runIssue(s *session, root string, r keys.Request, force bool) error {
	dir, err := serviceDir(root, r.Service)
	if err != nil {
		return usagef("%s", err)
	}
	a, unlock, err := openAuthority(root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := mayWrite(dir, r.Service, force); err != nil {
		return err
	}
	box, err := keys.NewBoxKey()
	if err != nil {
		return err
	}
	pq, err := keys.NewPQKey()
	if err != nil {
		return err
	}
	trust, err := keys.NewTrust(a.trust)
	if err != nil {
		return err
	}
	leaf, key, err := a.issue(r)
	if errors.Is(err, keys.ErrInvalidName) {
		return usagef("%s", err)
	}
	if err != nil {
		return err
	}
	id := keys.ID{TrustDomain: a.Domain, Service: r.Service}
	set := keys.Set{ID: id, Chain: []*x509.Certificate{leaf}, Key: key, Box: box, PQ: pq, Trust: trust}
	if err := set.Write(dir); err != nil {
		return err
	}
	warnLongLife(s, leaf)
	info := describeLeaf(dir, id, leaf)
	if s.json {
		return s.printJSON(info)
	}
	err = s.printFields(fmt.Sprintf("Issued %s in %s", id, dir), info.fields(time.Now()))
	s.printNext(fmt.Sprintf("SIGNET_IDENTITY=%s ./%s", shellWord(dir), filepath.Base(dir)),
		fmt.Sprintf("signet renew %s   before it ends", shellWord(dir)))
	return err
}

// mayWrite decides whether an identity may be written to dir. Even --force does
// not put one service's identity in the place of another's, which could happen
// where file names differ in case only.
func mayWrite(dir, service string, force bool) error {
	name, found := anyOf(dir, keys.LeafFile, keys.LeafKeyFile, keys.CAFile, keys.CRLFile, keys.BoxKeyFile, keys.PQKeyFile)
	if !found {
		if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	if !force {
		return withHint(fmt.Errorf("%s exists already", name),
			"to renew it and keep its box keys run 'signet renew %s'; to replace it, all its keys included, add --force", shellWord(dir))
	}
	if _, id, err := readChain(dir); err == nil && id.Service != service {
		return fmt.Errorf("%s holds the identity of %s, not of %s: remove it by hand if it is to go", dir, id, service)
	}
	return nil
}
