package signed

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
)

// signer makes records of this process's nodes.
type signer struct {
	id       *identity.Identity
	policy   *verifier
	validity time.Duration
	recreate bool

	mu        sync.Mutex
	sequences map[nodeKey]uint64
}

type nodeKey struct{ service, id string }

func newSigner(id *identity.Identity, policy *verifier, validity time.Duration, recreate bool) *signer {
	return &signer{id: id, policy: policy, validity: validity, recreate: recreate, sequences: make(map[nodeKey]uint64)}
}

// next returns the sequence of a node's next record. It lives as long as the
// process, so that it outlives a Deregister.
func (s *signer) next(key nodeKey, now time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence := max(s.sequences[key]+1, uint64(now.UnixMicro()))
	s.sequences[key] = sequence
	return sequence
}

// sign returns the parts of a new record of a node.
func (s *signer) sign(service *registry.Service, node *registry.Node, withdrawn bool) ([]string, error) {
	name := service.Name
	if self := s.id.Peer(); !s.policy.named(self, name) {
		return nil, fmt.Errorf("%w: %s may not register %s: the service name must be the one in the identity, a DNS name of its certificate, or one that signed.Allow gives it", ErrUnauthorised, self.ID, keys.Quote(name))
	}
	now := time.Now()
	r := &record{
		withdrawn: withdrawn,
		issued:    now.Unix(),
		lifetime:  int64(s.validity / time.Second),
		sequence:  s.next(nodeKey{name, node.Id}, now),
	}
	var err error
	if r.endpoints, err = endpointsDigest(service.Endpoints); err != nil {
		return nil, invalid(err)
	}
	if r.metadata, err = metadataDigest(service.Metadata); err != nil {
		return nil, invalid(err)
	}
	for _, key := range s.id.BoxKeys()[:1] {
		r.boxKeys = append(r.boxKeys, key.PublicKey().Bytes())
	}
	r.header = r.encodeHeader()
	self := s.id.ID()
	said, err := subject(self, name, service.Version, node)
	if err != nil {
		return nil, invalid(err)
	}
	if err := s.seal(r, said); err != nil {
		return nil, err
	}
	return split(r.encode())
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

func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }
