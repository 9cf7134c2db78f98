package signed

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// Register signs the nodes of s and registers them, each by a call of its own to the
// inner registry. Nothing is registered unless all of them could be signed. What is
// registered again unchanged is handed on in the same bytes, until it is time for a
// new record: at half of the validity, or when the identity's certificate or box key
// has changed. From then on the registry renews by itself, too, for as long as
// Register is called within its TTL (registry.RegisterTTL), or for good without one.
//
// Nodes that carry somebody else's record, as in an answer of GetService, or whose ID
// another identity holds in the same service, are left out: nobody signs for others.
// s is not changed and not kept. The error wraps ErrInvalid, ErrUnauthorised,
// ErrForeign, ErrNoIdentity, ErrClosed, one of package identity, or is the inner
// registry's.
func (r *signedRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	l, err := r.use()
	if err != nil {
		return err
	}
	own, err := l.signer.own(s)
	if err != nil {
		return err
	}
	if len(own) > 1 {
		for _, one := range own {
			if err := l.signer.try(one); err != nil {
				return err
			}
		}
	}
	for _, one := range own {
		if err := l.signer.register(one, opts); err != nil {
			return err
		}
	}
	return nil
}

// own returns a copy of s for each node that is ours.
func (s *signer) own(service *registry.Service) ([]*registry.Service, error) {
	if service == nil || !slices.ContainsFunc(service.Nodes, func(n *registry.Node) bool { return n != nil }) {
		return nil, fmt.Errorf("%w: there is no node in it: give the service its nodes", ErrInvalid)
	}
	if service.Name == "" {
		return nil, fmt.Errorf("%w: it has no name: give it the one in the identity", ErrInvalid)
	}
	if err := s.mayRegister(service.Name); err != nil {
		return nil, err
	}
	// The digests bound what is copied below.
	if _, err := endpointsDigest(service.Endpoints); err != nil {
		return nil, invalid(err)
	}
	if _, err := metadataDigest(service.Metadata); err != nil {
		return nil, invalid(err)
	}
	var out []*registry.Service
	seen := make(map[string]bool)
	for _, node := range service.Nodes {
		if node == nil {
			continue
		}
		if err := checkSizes(service.Name, service.Version, node); err != nil {
			return nil, invalid(err)
		}
		if s.foreign(service, node) {
			s.log.Logf(logger.DebugLevel, "signed: node %s of %s is not of this process: left out", keys.Quote(node.Id), keys.Quote(service.Name))
			continue
		}
		if seen[node.Id] {
			return nil, fmt.Errorf("%w: two nodes have the id %s: give each its own", ErrInvalid, keys.Quote(node.Id))
		}
		seen[node.Id] = true
		one := copyService(service)
		one.Nodes = []*registry.Node{copyNode(node)}
		carry(one.Nodes[0], nil) // without whatever it may hold under our keys
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no node of %s is of this process: register only its own", ErrForeign, keys.Quote(service.Name))
	}
	return out, nil
}

// foreign reports whether a node is somebody else's. A service registers itself
// without a record, so a node with one comes from a registry; that the record may not
// verify, or not any more, makes it no better. One that bears our own ID is a
// replica's, unless this process has registered the node. And a node that we have
// registered stays ours, whoever else registers its ID: they could let ours run out.
func (s *signer) foreign(service *registry.Service, node *registry.Node) bool {
	self, held := s.id.ID(), s.holds(nodeKey{service.Name, node.Id})
	if signer, carried := s.claimed(node); carried {
		return signer != self || !held
	}
	now := time.Now()
	return !held && slices.ContainsFunc(s.engine.state(service.Name, false).named(node.Id), func(e *entry) bool {
		return e.signer() != self && now.Before(e.until())
	})
}

// claimed reports whether a node carries a record, and whose it says it is.
func (s *signer) claimed(node *registry.Node) (signer string, carried bool) {
	parts, err := join(node.Metadata)
	if err != nil || parts == nil {
		return "", false
	}
	raw, err := unpack(parts)
	if err != nil {
		return "", false
	}
	r, err := parseRecord(raw)
	if err != nil {
		return "", false
	}
	leaf, err := x509.ParseCertificate(r.certs[0])
	if err != nil {
		return "", true
	}
	peer, err := identity.PeerFromCertificate(leaf, s.id.Peer().TrustDomain)
	if err != nil {
		return "", true
	}
	return peer.ID, true
}

// try finds out whether a node can be signed, before another is registered.
func (s *signer) try(one *registry.Service) error {
	n := s.enter(nodeKey{one.Name, one.Nodes[0].Id})
	defer s.leave(n)
	if err := n.take(); err != nil {
		return err
	}
	defer n.release()
	_, err := s.signed(n, one)
	return err
}

// mayRegister refuses early what every peer would refuse.
func (s *signer) mayRegister(name string) error {
	self := s.id.Peer()
	if s.engine.named(self, name) {
		return nil
	}
	return fmt.Errorf("%w: %s may not register %s: the service name must be the one in the identity, a DNS name of its certificate, or one that signed.Allow gives it", ErrUnauthorised, self.ID, keys.Quote(name))
}

func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }
