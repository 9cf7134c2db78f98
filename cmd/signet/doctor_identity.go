package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// checkIdentity looks at each part of an identity directory by itself, so that
// one run names everything that is wrong, and at last loads it as a service
// does: that verdict is the one that counts.
func checkIdentity(r *report, dir string, read keys.ReadOptions, now time.Time) {
	if !checkDirectory(r, dir) {
		return
	}
	checkSecrets(r, dir, read)
	chain, _, err := readChain(dir)
	if err != nil {
		r.add("leaf", fail, err.Error())
	} else {
		checkKey(r, dir, chain[0])
		checkLife(r, "leaf", "signet renew "+shellWord(dir), chain[0].NotBefore, chain[0].NotAfter, now)
	}
	checkBundle(r, dir, now)
	checkLists(r, dir, chain, now)
	checkBox(r, dir)
	if _, err := keys.ReadSet(dir, read, now); err != nil {
		r.add("load", fail, "a service refuses this directory: "+err.Error())
		return
	}
	r.add("load", ok, "a service can load this directory")
	checkMDNS(r, dir, read)
}

func checkDirectory(r *report, dir string) bool {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		r.advise("directory", fail, err.Error(), "make an identity with 'signet issue', or name its directory")
		return false
	case !info.IsDir():
		r.add("directory", fail, dir+" is not a directory")
		return false
	}
	mode := info.Mode().Perm()
	switch {
	case runtime.GOOS == "windows" || mode&0o077 == 0:
		r.add("directory", ok, fmt.Sprintf("%s, mode %04o", dir, mode))
	case mode&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		r.advise("directory", warn, fmt.Sprintf("%s has mode %04o: others may replace its files", dir, mode), "chmod 700 "+shellWord(dir))
	default:
		r.add("directory", note, fmt.Sprintf("%s has mode %04o: others may list it, want 0700", dir, mode))
	}
	if name, found := anyOf(dir, keys.CAKeyFile); found {
		r.advise("authority", fail, name+" is the key of an authority: a service must not be able to issue identities",
			"move the authority to a directory of its own")
	}
	return true
}

// checkSecrets looks at the modes of the key files, through symbolic links.
func checkSecrets(r *report, dir string, read keys.ReadOptions) {
	forbidden, want := fs.FileMode(0o077), "600"
	if read.GroupReadable {
		forbidden, want = 0o037, "640"
	}
	for _, name := range []string{keys.LeafKeyFile, keys.BoxKeyFile, keys.PQKeyFile} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && name != keys.LeafKeyFile:
		case err != nil:
			r.add(name+" mode", fail, err.Error())
		case runtime.GOOS == "windows":
			r.add(name+" mode", note, "not checked on windows: see its access control list")
		case info.Mode().Perm()&forbidden != 0:
			r.advise(name+" mode", fail, fmt.Sprintf("%s has mode %04o: others may have read it", path, info.Mode().Perm()),
				fmt.Sprintf("chmod %s %s, and replace the key if others had access", want, shellWord(path)))
		default:
			r.add(name+" mode", ok, fmt.Sprintf("%04o", info.Mode().Perm()))
		}
	}
}

func checkKey(r *report, dir string, leaf *x509.Certificate) {
	path := filepath.Join(dir, keys.LeafKeyFile)
	data, err := readBounded(path, keys.MaxKeyFile)
	if err != nil {
		r.add("key", fail, err.Error())
		return
	}
	key, err := keys.ParseSigner(data)
	if err != nil {
		r.add("key", fail, fmt.Sprintf("%s: %v", path, err))
		return
	}
	public, known := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !known || !public.Equal(key.Public()) {
		r.advise("key", fail, fmt.Sprintf("%s does not match %s", path, keys.LeafFile), "put the pair that was issued together in place")
		return
	}
	r.add("key", ok, fmt.Sprintf("%s, matches %s", keyType(leaf), keys.LeafFile))
}

// checkLife judges a certificate or a revocation list by the clock. It warns past
// two thirds of the life, as a running service does.
func checkLife(r *report, name, renewal string, begin, end, now time.Time) {
	switch {
	case now.Before(begin):
		r.advise(name, fail, "begins "+moment(begin, now), "set the clock of this machine, or of the one that issued it")
	case now.After(end):
		r.advise(name, fail, "ended "+moment(end, now), renewal)
	case now.After(begin.Add(end.Sub(begin) * 2 / 3)):
		r.advise(name, warn, "past two thirds of its life, ends "+moment(end, now), renewal)
	default:
		r.add(name, ok, "ends "+moment(end, now))
	}
}

func checkBundle(r *report, dir string, now time.Time) {
	for _, path := range append([]string{filepath.Join(dir, keys.CAFile)}, federatedFiles(dir)...) {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			name = path
		}
		bundle, err := readBundle(path)
		if err != nil {
			r.add(name, fail, err.Error())
			continue
		}
		for _, ca := range bundle {
			checkCA(r, name, path, ca, now)
		}
	}
}

// checkCA only warns: a bundle may hold the certificate before and the one after
// beside the one in use, and whether the leaf has a chain shows when it is loaded.
func checkCA(r *report, name, path string, ca *x509.Certificate, now time.Time) {
	var one report
	checkLife(&one, name, "add the authority's next certificate to "+path, ca.NotBefore, ca.NotAfter, now)
	for _, c := range one.checks {
		if c.Status == fail {
			c.Status = warn
		}
		c.Detail = ca.Subject.String() + " " + c.Detail
		r.checks = append(r.checks, c)
	}
}

func checkLists(r *report, dir string, chain []*x509.Certificate, now time.Time) {
	path := filepath.Join(dir, keys.CRLFile)
	data, err := readBounded(path, keys.MaxCRLFile)
	if errors.Is(err, fs.ErrNotExist) {
		r.add(keys.CRLFile, note, "no revocation list: revoked peers are not recognised")
		return
	}
	if err != nil {
		r.add(keys.CRLFile, fail, err.Error())
		return
	}
	lists, err := decodeLists(data)
	if err != nil {
		r.add(keys.CRLFile, fail, fmt.Sprintf("%s: %v", path, err))
		return
	}
	for _, list := range lists {
		checkLife(r, keys.CRLFile, "copy the authority's newest list to "+path, list.ThisUpdate, list.NextUpdate, now)
		if len(chain) > 0 && bytes.Equal(list.RawIssuer, chain[0].RawIssuer) && revokes(list, chain[0]) {
			r.advise("revocation", fail, "this identity is revoked", "if the service is to come back, run 'signet issue --force'")
		}
	}
}

func checkBox(r *report, dir string) {
	const none = "none: the service makes one at start, and cannot open messages sealed before a restart"
	box, err := readBox(dir)
	switch {
	case err != nil:
		r.add(keys.BoxKeyFile, fail, err.Error())
	case box == nil:
		r.add(keys.BoxKeyFile, note, none)
	default:
		r.add(keys.BoxKeyFile, ok, "X25519")
	}
	switch pq, err := readPQ(dir); {
	case err != nil:
		r.add(keys.PQKeyFile, fail, err.Error())
	case pq == nil && box != nil:
		r.advise(keys.PQKeyFile, note, none, "signet renew adds one")
	case pq == nil:
		r.add(keys.PQKeyFile, note, none)
	default:
		r.add(keys.PQKeyFile, ok, "MLKEM768-X25519")
	}
}
