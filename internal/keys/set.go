package keys

import (
	"crypto"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names of files in an identity directory and in an authority's.
const (
	LeafFile    = "tls.crt"
	LeafKeyFile = "tls.key"
	CAFile      = "ca.crt"
	CAKeyFile   = "ca.key"
	CRLFile     = "ca.crl"
	BoxKeyFile  = "box.key"
	PQKeyFile   = "pq.key"
	TrustDir    = "trust"

	certSuffix = ".crt"
	crlSuffix  = ".crl"
)

// Set is everything an identity is made of, checked as a whole.
type Set struct {
	ID    ID
	Chain []*x509.Certificate // leaf first
	Key   Signer
	Box   *ecdh.PrivateKey // nil if the directory holds none
	PQ    hpke.PrivateKey  // MLKEM768-X25519; nil if the directory holds none
	Trust *Trust
	// Digest is of all the bytes the set was read from.
	Digest [sha256.Size]byte
}

// Leaf returns the service's own certificate.
func (s *Set) Leaf() *x509.Certificate { return s.Chain[0] }

// ReadOptions say how a directory is read.
type ReadOptions struct {
	// GroupReadable lets secrets be readable by their group: Kubernetes gives the
	// files of a secret to the pod's fsGroup.
	GroupReadable bool
}

// reader reads the files of one directory and digests them as it goes.
type reader struct {
	dir    string
	secret access
	sum    hash.Hash
	now    time.Time
}

func newReader(dir string, o ReadOptions, now time.Time) *reader {
	r := &reader{dir: dir, secret: secret600, sum: sha256.New(), now: now}
	if o.GroupReadable {
		r.secret = secretFSGroup
	}
	return r
}

// ReadSet reads an identity directory and checks it as a whole, at a time. Only
// with ErrRevoked does it return a set as well: whom the list revokes beside
// ourselves must take effect all the same.
func ReadSet(dir string, o ReadOptions, now time.Time) (*Set, error) {
	r := newReader(dir, o, now)
	set := &Set{}
	certs, err := r.read(LeafFile, MaxCertFile, public)
	if err != nil {
		return nil, err
	}
	if set.Chain, err = ParseCertificates(certs, MaxChain); err != nil {
		return nil, r.in(LeafFile, err)
	}
	key, err := r.read(LeafKeyFile, MaxKeyFile, r.secret)
	if err != nil {
		return nil, err
	}
	if set.Key, err = ParseSigner(key); err != nil {
		return nil, r.in(LeafKeyFile, err)
	}
	if set.ID, err = CheckLeaf(set.Leaf()); err != nil {
		return nil, r.in(LeafFile, err)
	}
	if !sameKey(set.Leaf().PublicKey, set.Key.Public()) {
		return nil, fmt.Errorf("%s: %w in %s: put the pair that was issued together in place", r.path(LeafKeyFile), ErrMismatch, LeafFile)
	}
	if set.Box, err = optionalKey(r, BoxKeyFile, ParseBoxKey); err != nil {
		return nil, err
	}
	if set.PQ, err = optionalKey(r, PQKeyFile, ParsePQKey); err != nil {
		return nil, err
	}
	if set.Trust, err = r.trust(set.ID.TrustDomain); err != nil {
		return nil, err
	}
	r.sum.Sum(set.Digest[:0])
	if _, _, err := set.Trust.Verify(set.Chain, now); err != nil {
		if errors.Is(err, ErrRevoked) {
			return set, r.in(LeafFile, err)
		}
		return nil, r.in(LeafFile, err)
	}
	return set, nil
}

func (r *reader) path(name string) string { return filepath.Join(r.dir, name) }

func (r *reader) in(name string, err error) error { return fmt.Errorf("%s: %w", r.path(name), err) }

func (r *reader) read(name string, most int64, who access) ([]byte, error) {
	data, err := readFile(r.path(name), most, who)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.sum, "%s %d\n", name, len(data))
	r.sum.Write(data)
	return data, nil
}

// readOptional returns nil when the file is not there.
func (r *reader) readOptional(name string, most int64, who access) ([]byte, error) {
	data, err := r.read(name, most, who)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// optionalKey reads a secret that a directory may do without: then it returns the
// zero key and no error.
func optionalKey[K any](r *reader, name string, parse func([]byte) (K, error)) (key K, err error) {
	data, err := r.readOptional(name, MaxKeyFile, r.secret)
	if data == nil || err != nil {
		return key, err
	}
	if key, err = parse(data); err != nil {
		return key, r.in(name, err)
	}
	return key, nil
}

func (r *reader) trust(home string) (*Trust, error) {
	own, err := r.domain(home, CAFile, CRLFile)
	if err != nil {
		return nil, err
	}
	names, err := r.federated()
	if err != nil {
		return nil, err
	}
	var others []*DomainTrust
	for _, name := range names {
		path := filepath.Join(TrustDir, name)
		if name == home {
			return nil, fmt.Errorf("%s: only %s vouches for the own trust domain: remove it", r.path(path+certSuffix), CAFile)
		}
		other, err := r.domain(name, path+certSuffix, path+crlSuffix)
		if err != nil {
			return nil, err
		}
		others = append(others, other)
	}
	return NewTrust(own, others...)
}

// domain reads the bundle of one trust domain.
func (r *reader) domain(name, caFile, crlFile string) (*DomainTrust, error) {
	data, err := r.read(caFile, MaxCertFile, public)
	if err != nil {
		return nil, err
	}
	cas, err := ParseCertificates(data, MaxCAs)
	if err != nil {
		return nil, r.in(caFile, err)
	}
	var crls []*CRL
	if data, err = r.readOptional(crlFile, MaxCRLFile, public); err != nil {
		return nil, err
	}
	if data != nil {
		if crls, err = ParseCRLs(data, cas, r.now); err != nil {
			return nil, r.in(crlFile, err)
		}
	}
	trust, err := NewDomainTrust(name, cas, crls)
	if err != nil {
		return nil, r.in(caFile, err)
	}
	return trust, nil
}

// federated lists the trust domains that have a file in the trust directory,
// sorted. A name it does not know is an error: a revocation list whose name is
// misspelt must not be passed over.
func (r *reader) federated() ([]string, error) {
	dir, err := os.Open(r.path(TrustDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	const most = 4 * MaxFederated // certificates, lists, and files being renamed
	entries, err := dir.ReadDir(most + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > most {
		return nil, fmt.Errorf("%s: more than %d files: at most %d trust domains may be federated", r.path(TrustDir), most, MaxFederated)
	}
	return r.domainsOf(entries)
}

func (r *reader) domainsOf(entries []fs.DirEntry) ([]string, error) {
	var domains []string
	lists := make(map[string]bool)
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue // a file being written, or Kubernetes' ..data
		}
		domain, isCert := strings.CutSuffix(name, certSuffix)
		if !isCert {
			var isList bool
			if domain, isList = strings.CutSuffix(name, crlSuffix); !isList {
				return nil, fmt.Errorf("%s: unexpected file: want <trust domain>%s or <trust domain>%s", r.path(filepath.Join(TrustDir, name)), certSuffix, crlSuffix)
			}
			lists[domain] = true
		}
		if err := CheckTrustDomain(domain); err != nil {
			return nil, fmt.Errorf("%s: %w", r.path(filepath.Join(TrustDir, name)), err)
		}
		if isCert {
			domains = append(domains, domain)
		}
	}
	for _, domain := range domains {
		delete(lists, domain)
	}
	slices.Sort(domains)
	for domain := range lists {
		return nil, fmt.Errorf("%s: a revocation list without %s%s beside it", r.path(filepath.Join(TrustDir, domain+crlSuffix)), domain, certSuffix)
	}
	return domains, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// Write puts a set in a directory, made with DirMode if need be. Files that are
// there are replaced one by one, each as a whole, the leaf last: a service that
// reads in between finds a key that does not match and keeps what it has.
func (s *Set) Write(dir string) error {
	if err := os.MkdirAll(dir, DirMode); err != nil {
		return err
	}
	key, err := encodeKey(s.Key)
	if err != nil {
		return err
	}
	type file struct {
		name string
		data []byte
		mode fs.FileMode
	}
	home := s.Trust.Home()
	files := []file{{CAFile, EncodeCertificates(home.cas...), PublicMode}}
	if crl := home.EncodeCRLs(); crl != nil {
		files = append(files, file{CRLFile, crl, PublicMode})
	}
	for _, other := range s.Trust.Federated() {
		path := filepath.Join(TrustDir, other.domain)
		if crl := other.EncodeCRLs(); crl != nil {
			files = append(files, file{path + crlSuffix, crl, PublicMode})
		}
		files = append(files, file{path + certSuffix, EncodeCertificates(other.cas...), PublicMode})
	}
	if s.Box != nil {
		box, err := encodeKey(s.Box)
		if err != nil {
			return err
		}
		files = append(files, file{BoxKeyFile, box, SecretMode})
	}
	if s.PQ != nil {
		pq, err := EncodePQKey(s.PQ)
		if err != nil {
			return err
		}
		files = append(files, file{PQKeyFile, pq, SecretMode})
	}
	files = append(files, file{LeafKeyFile, key, SecretMode}, file{LeafFile, EncodeCertificates(s.Chain...), PublicMode})
	if len(s.Trust.domains) > 1 {
		if err := os.MkdirAll(filepath.Join(dir, TrustDir), DirMode); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := WriteFile(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}
