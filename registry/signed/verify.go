package signed

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
)

// offer is what a registry says of one node. It is the registry's: read only.
type offer struct {
	service string // the name that was asked for
	version string
	node    *registry.Node
	part    *parts
}

// trust is a verdict about a signer, good for one generation of the identity.
type trust struct {
	generation uint64
	peer       identity.Peer
	until      time.Time // the end of the chain, or of a revocation list behind it
}

// verifier checks offers. It knows nothing of what was seen before, except the
// chains that it has verified.
type verifier struct {
	id        *identity.Identity
	authorize func(identity.Peer, *registry.Service) error
	allow     map[string][]string
	chains    chainCache
}

// signedOffer is an offer whose record has been parsed, and whose signer is known
// and may register the name. Its signature is still to be checked.
type signedOffer struct {
	*offer
	record  *record
	chain   []*x509.Certificate
	trust   trust
	subject []byte
}

// statement identifies what was signed.
func (s *signedOffer) statement() [sha256.Size]byte {
	h := sha256.New()
	h.Write(s.record.header)
	h.Write(s.subject)
	return [sha256.Size]byte(h.Sum(nil))
}

// parse takes an offer up to its signer: size, form, times, chain, policy. With an
// error it returns as much as it has found out.
func (v *verifier) parse(o *offer, now time.Time) (s *signedOffer, err error) {
	s = &signedOffer{offer: o}
	if err := checkSizes(o.service, o.version, o.node); err != nil {
		return s, err
	}
	carried, err := join(o.node.Metadata)
	if err != nil {
		return s, err
	}
	if carried == nil {
		return s, reject(Unsigned, "no signed record: does the service register through registry/signed?")
	}
	raw, err := unpack(carried)
	if err != nil {
		return s, err
	}
	if s.record, err = parseRecord(raw); err != nil {
		return s, err
	}
	if err := checkTimes(s.record, now); err != nil {
		return s, err
	}
	if s.chain, s.trust, err = v.chains.verify(v.id, s.record.certs); err != nil {
		return s, err
	}
	if !now.Before(s.trust.until) { // at that moment certificates still count
		return s, reject(Expired, "the certificates of %s end at %s, which is now", s.trust.peer.ID, stamp(s.trust.until))
	}
	if err := v.mayRegister(s); err != nil {
		return s, err
	}
	s.subject, err = subject(s.trust.peer.ID, o.service, o.version, o.node)
	return s, err
}

// checkSignature is the last check, and the dear one.
func (s *signedOffer) checkSignature() error {
	if err := identity.VerifySignature(s.chain[0], recordPurpose, s.record.signature, s.record.header, s.subject); err != nil {
		return reject(Altered, "the signature of %s is not over what the registry says: name, version, id, address or metadata was changed after it was signed", s.trust.peer.ID)
	}
	for _, key := range s.record.boxKeys {
		err := identity.CheckBoxKey(key.x25519)
		if err == nil && key.pq != nil {
			err = identity.CheckPQKey(key.pq)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	return nil
}

func checkTimes(r *record, now time.Time) error {
	issued, expires := r.issuedAt(), r.expiresAt()
	ahead := now.Add(clockSkew)
	switch {
	case issued.After(ahead):
		return reject(NotYetValid, "issued at %s, here it is %s: compare the clocks", stamp(issued), stamp(now))
	case r.sequence > uint64(ahead.UnixMicro()):
		return reject(NotYetValid, "sequence %d is that of a time to come, here it is %d: compare the clocks", r.sequence, now.UnixMicro())
	case !now.Before(expires):
		return reject(Expired, "the record ended at %s, here it is %s: its service has not renewed it, or the clocks differ", stamp(expires), stamp(now))
	}
	return nil
}

// mayRegister applies the policy: the signer is the service of that name, or Allow
// names it, and Authorize agrees.
func (v *verifier) mayRegister(s *signedOffer) error {
	peer := s.trust.peer
	if !v.named(peer, s.service) {
		return reject(Unauthorised, "%s may not register %s", peer.ID, keys.Quote(s.service))
	}
	if v.authorize == nil {
		return nil
	}
	if err := v.ask(peer, s.alone()); err != nil {
		return reject(Unauthorised, "Authorize refuses %s: %w", peer.ID, err)
	}
	return nil
}

// named reports whether a name is a peer's own, or one that Allow gives it.
func (v *verifier) named(peer identity.Peer, service string) bool {
	return peer.Serves(service) || slices.ContainsFunc(v.allow[service], peer.Serves)
}

func (v *verifier) ask(peer identity.Peer, s *registry.Service) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	return v.authorize(peer, s)
}

// alone returns a copy of the offer as a service of one node, without the
// record, and without endpoints and metadata that are not those of the record.
func (s *signedOffer) alone() *registry.Service {
	node := copyNode(s.node)
	for key := range node.Metadata {
		if reserved(key) {
			delete(node.Metadata, key)
		}
	}
	vouched := &registry.Service{Name: s.service, Version: s.version}
	if s.part.vouchedEndpoints(s.record) {
		vouched.Endpoints = s.part.endpoints
	}
	if s.part.vouchedMetadata(s.record) {
		vouched.Metadata = s.part.metadata
	}
	out := copyService(vouched)
	out.Nodes = []*registry.Node{node}
	return out
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
