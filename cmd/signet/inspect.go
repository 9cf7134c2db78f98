package main

import (
	"encoding/base64"
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

func inspectCommand() command {
	return command{
		name:     "inspect",
		synopsis: "[FLAGS] IDENTITY-DIRECTORY",
		summary:  "show who an identity is, until when, and whom it trusts",
		details: `
Shows the ID, the life of the leaf, the names it may register and serve under,
fingerprints (SHA-256 of the leaf and of its public key), the public box key, the
fingerprint of the post-quantum one, the trust bundle and the revocation lists. It shows an identity that has ended or is
revoked as well, and says so; to judge one, use 'signet doctor'.`,
		examples: []string{
			"signet inspect keys/greeter",
			"signet inspect keys/greeter --json",
		},
		minArgs: 1, maxArgs: 1,
		setup: func(fs *flag.FlagSet) action {
			group := groupFlag(fs)
			return func(s *session, args []string) error { return runInspect(s, args[0], s.readOptions(*group)) }
		},
	}
}

// identityInfo is what inspect tells; all of it is public.
type identityInfo struct {
	leafInfo
	State  string      `json:"state"` // valid, expired, not yet valid, revoked, not usable
	Reason string      `json:"reason,omitempty"`
	BoxKey string      `json:"box_key,omitempty"`       // base64 of the X25519 public key
	PQKey  string      `json:"pq_key_sha256,omitempty"` // of the 1216 bytes of the MLKEM768-X25519 public key
	Trust  []trustInfo `json:"trust"`
	CRLs   []crlInfo   `json:"crls"`
}

// trustInfo is a CA certificate that the identity trusts for a trust domain.
type trustInfo struct {
	TrustDomain string    `json:"trust_domain"`
	Subject     string    `json:"subject"`
	NotAfter    time.Time `json:"not_after"`
	SHA256      string    `json:"sha256"`
}

// crlInfo is a revocation list of the own trust domain.
type crlInfo struct {
	Issuer     string    `json:"issuer"`
	Number     string    `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"`
}

func runInspect(s *session, dir string, read keys.ReadOptions) error {
	now := time.Now()
	chain, id, err := readChain(dir)
	if err != nil {
		return err
	}
	info := identityInfo{leafInfo: describeLeaf(dir, id, chain[0]), Trust: []trustInfo{}, CRLs: []crlInfo{}}
	_, err = keys.ReadSet(dir, read, now)
	info.State = stateOf(err)
	if err != nil {
		info.Reason = err.Error()
	}
	if box, err := readBox(dir); err == nil && box != nil {
		info.BoxKey = base64.StdEncoding.EncodeToString(box)
	}
	if pq, err := readPQ(dir); err == nil && pq != nil {
		info.PQKey = sha256Hex(pq)
	}
	info.addTrust(id.TrustDomain, filepath.Join(dir, keys.CAFile))
	info.addLists(filepath.Join(dir, keys.CRLFile))
	for _, path := range federatedFiles(dir) {
		info.addTrust(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), path)
	}
	if s.json {
		return s.printJSON(info)
	}
	return s.printFields(info.ID, info.fields(now))
}

func stateOf(err error) string {
	if err == nil {
		return "valid"
	}
	for _, known := range []error{keys.ErrExpired, keys.ErrNotYetValid, keys.ErrRevoked, keys.ErrStaleCRL, keys.ErrUntrusted} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "not usable"
}

// readBox returns the public half of the box key, nil if the directory holds none.
func readBox(dir string) ([]byte, error) {
	return readPublic(dir, keys.BoxKeyFile, func(data []byte) ([]byte, error) {
		key, err := keys.ParseBoxKey(data)
		if err != nil {
			return nil, err
		}
		return key.PublicKey().Bytes(), nil
	})
}

// readPQ is readBox of the post-quantum box key.
func readPQ(dir string) ([]byte, error) {
	return readPublic(dir, keys.PQKeyFile, func(data []byte) ([]byte, error) {
		key, err := keys.ParsePQKey(data)
		if err != nil {
			return nil, err
		}
		return key.PublicKey().Bytes(), nil
	})
}

func readPublic(dir, name string, parse func(data []byte) (public []byte, err error)) ([]byte, error) {
	path := filepath.Join(dir, name)
	data, err := readBounded(path, keys.MaxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	public, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return public, nil
}

// federatedFiles lists the bundles of other trust domains.
func federatedFiles(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(dir, keys.TrustDir))
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".crt") && !strings.HasPrefix(name, ".") {
			paths = append(paths, filepath.Join(dir, keys.TrustDir, name))
		}
	}
	return paths
}

// addTrust and addLists leave out what cannot be read: Reason says why then.
func (i *identityInfo) addTrust(domain, path string) {
	bundle, err := readBundle(path)
	if err != nil {
		return
	}
	for _, ca := range bundle {
		i.Trust = append(i.Trust, trustInfo{domain, ca.Subject.String(), ca.NotAfter.UTC(), sha256Hex(ca.Raw)})
	}
}

func (i *identityInfo) addLists(path string) {
	data, err := readBounded(path, keys.MaxCRLFile)
	if err != nil {
		return
	}
	lists, err := decodeLists(data)
	if err != nil {
		return
	}
	for _, l := range lists {
		number := ""
		if l.Number != nil {
			number = l.Number.String()
		}
		i.CRLs = append(i.CRLs, crlInfo{l.Issuer.String(), number, l.ThisUpdate.UTC(), l.NextUpdate.UTC(), len(l.RevokedCertificateEntries)})
	}
}

func (i *identityInfo) fields(now time.Time) []field {
	state := i.State
	if i.Reason != "" {
		state += ": " + i.Reason
	}
	fields := append([]field{{"state", state}}, i.leafInfo.fields(now)...)
	box := i.BoxKey
	if box == "" {
		box = "none on disk: the service makes one at start"
	}
	pq := "none on disk: the service makes one at start"
	if i.PQKey != "" {
		pq = "MLKEM768-X25519, sha256 " + i.PQKey
	}
	fields = append(fields, field{"box key", box}, field{"pq box key", pq})
	for _, ca := range i.Trust {
		fields = append(fields, field{"trusts", fmt.Sprintf("%s by %s, until %s", ca.TrustDomain, ca.Subject, moment(ca.NotAfter, now))})
	}
	if len(i.CRLs) == 0 {
		fields = append(fields, field{"revocation", "no list: revoked peers are not recognised"})
	}
	for _, l := range i.CRLs {
		fields = append(fields, field{"revocation", fmt.Sprintf("list %s of %s, %d revoked, next due %s", l.Number, l.Issuer, l.Revoked, moment(l.NextUpdate, now))})
	}
	return fields
}
