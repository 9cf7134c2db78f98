package signed

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// signedNode is a node of ours as it is registered: the same bytes until it is
// signed anew, since backends take other bytes for another registration.
type signedNode struct {
	service *registry.Service // with the one node, which carries the record
	content [sha256.Size]byte // of what was to be registered
	keys    [sha256.Size]byte // of the certificates and the box keys
	expires time.Time         // of the record
	renew   time.Time         // when it is signed anew at the latest
}

// node is the one node.
func (n *signedNode) node() *registry.Node { return n.service.Nodes[0] }

// copy is for the inner registry, which may keep what it gets.
func (n *signedNode) copy() *registry.Service {
	out := copyService(n.service)
	out.Nodes = copyNodes(n.service.Nodes)
	return out
}

// current reports whether n is still what is to be registered.
func (n *signedNode) current(content, keys [sha256.Size]byte, now time.Time) bool {
	return n != nil && n.content == content && n.keys == keys && now.Before(n.renew)
}

// described is what a record says of a node.
type described struct {
	content             [sha256.Size]byte // a digest of the rest
	subject             []byte
	endpoints, metadata [digestSize]byte
}

// describe encodes what is to be registered: service has one node.
func (s *signer) describe(service *registry.Service) (d described, err error) {
	if d.subject, err = subject(s.id.ID(), service.Name, service.Version, service.Nodes[0]); err != nil {
		return d, invalid(err)
	}
	if d.endpoints, err = endpointsDigest(service.Endpoints); err != nil {
		return d, invalid(err)
	}
	if d.metadata, err = metadataDigest(service.Metadata); err != nil {
		return d, invalid(err)
	}
	h := sha256.New()
	h.Write(d.endpoints[:])
	h.Write(d.metadata[:])
	h.Write(d.subject)
	d.content = [sha256.Size]byte(h.Sum(nil))
	return d, nil
}

// keysNow digests what a record is signed with and carries.
func (s *signer) keysNow() (sum [sha256.Size]byte, err error) {
	cert, err := s.id.TLSCertificate()
	if err != nil {
		return sum, fmt.Errorf("signed: %w", err)
	}
	h := sha256.New()
	for _, der := range cert.Certificate {
		h.Write(appendSized(nil, der))
	}
	for _, key := range s.boxKeys() {
		h.Write(key.x25519)
		h.Write(appendSized(nil, key.pq))
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// boxKeys are those that others are to seal to.
func (s *signer) boxKeys() []recordKey {
	own := s.id.SealKeys()
	if len(own) == 0 {
		return nil
	}
	public := own[0].Public()
	key := recordKey{x25519: public.X25519.Bytes()}
	if s.postQuantum {
		key.pq = public.PQ
	}
	return []recordKey{key}
}

// sign makes a record of service's one node, and puts it there. It lasts until the
// validity is over, and at least until a time.
func (s *signer) sign(service *registry.Service, said described, sequence uint64, withdrawn bool, least time.Time) (*signedNode, error) {
	// First of all: if they change before the record is made, it counts as outdated.
	sum, err := s.keysNow()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	lifetime := min(max(s.validity, least.Sub(now)+time.Second), longestValidity)
	r := &record{
		withdrawn: withdrawn,
		issued:    now.Unix(),
		lifetime:  int64(lifetime / time.Second),
		sequence:  sequence,
		endpoints: said.endpoints,
		metadata:  said.metadata,
	}
	if !withdrawn { // else nobody seals to us by it
		r.boxKeys = s.boxKeys()
	}
	n := &signedNode{service: service, content: said.content, keys: sum, expires: r.expiresAt(), renew: now.Add(half(s.validity))}
	r.header = r.encodeHeader()
	if err := s.seal(r, said.subject); err != nil {
		return nil, err
	}
	parts, err := split(r.encode())
	if err != nil {
		return nil, err
	}
	carry(n.node(), parts)
	return n, nil
}

// half is half of d, and up to a tenth more or less, so that a fleet that was
// started at once does not sign at once.
func half(d time.Duration) time.Duration {
	return d*4/10 + rand.N(d/5)
}

// seal adds signature and chain. The identity may be renewed between the two, so
// they are compared.
func (s *signer) seal(r *record, said []byte) error {
	const tries = 3
	for range tries {
		cert, err := s.id.TLSCertificate()
		if err != nil {
			return fmt.Errorf("signed: %w", err)
		}
		if r.signature, err = s.id.Sign(recordPurpose, r.header, said); err != nil {
			return fmt.Errorf("signed: %w", err)
		}
		if identity.VerifySignature(cert.Leaf, recordPurpose, r.signature, r.header, said) == nil {
			r.certs = withoutRoots(cert.Certificate)
			return nil
		}
	}
	return fmt.Errorf("signed: the identity changed %d times while it signed: try again", tries)
}

// withoutRoots leaves out what peers have in their own trust bundle.
func withoutRoots(chain [][]byte) [][]byte {
	out := chain[:1:1]
	for _, der := range chain[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil && bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			continue
		}
		out = append(out, der)
	}
	return out
}
