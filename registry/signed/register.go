package signed

import (
	"errors"
	"fmt"
	"time"

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
// Nodes that carry somebody else's record, as in an answer of GetService, are left
// out: nobody signs for others. s is not changed and not kept. The error wraps
// ErrInvalid, ErrUnauthorised, ErrForeign, ErrNoIdentity, ErrClosed, one of package
// identity, or is the inner registry's.
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
	if service == nil || len(service.Nodes) == 0 {
		return nil, fmt.Errorf("%w: there is no node in it", ErrInvalid)
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
	for _, node := range service.Nodes {
		if node == nil {
			continue
		}
		if err := checkSizes(service.Name, service.Version, node); err != nil {
			return nil, invalid(err)
		}
		if s.foreign(service, node) {
			s.log.Logf(logger.DebugLevel, "signed: node %s of %s carries a record that is not of this process: left out", keys.Quote(node.Id), keys.Quote(service.Name))
			continue
		}
		one := copyService(service)
		one.Nodes = []*registry.Node{copyNode(node)}
		carry(one.Nodes[0], nil) // without whatever it may hold under our keys
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: all nodes of %s carry records that are not of this process: register only its own", ErrForeign, keys.Quote(service.Name))
	}
	return out, nil
}

// foreign reports whether a node carries a record that is not the one we made. A
// service registers itself without any, so such a node comes from a registry; that
// its record may not verify, or not any more, makes it no better.
func (s *signer) foreign(service *registry.Service, node *registry.Node) bool {
	carried, err := join(node.Metadata)
	if err != nil || carried == nil {
		return false
	}
	raw, err := unpack(carried)
	if err != nil {
		return false
	}
	if _, err := parseRecord(raw); err != nil {
		return false
	}
	own := s.registered(nodeKey{service.Name, node.Id})
	return own == nil || own.node().Metadata[partKey(0)] != node.Metadata[partKey(0)]
}

// try finds out whether a node can be signed.
func (s *signer) try(one *registry.Service) error {
	trial := copyService(one)
	trial.Nodes = copyNodes(one.Nodes)
	_, err := s.sign(trial, 1, false, time.Time{})
	return err
}

// Deregister takes back what Register registered, authentically: it signs that
// nothing up to now counts any more, so that nobody can put the record back before
// the eyes of those who watch. What was not registered here is handed on as it is.
// The error is the inner registry's, or the configuration's.
func (r *signedRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	l, err := r.use()
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("%w: Deregister(nil)", ErrInvalid)
	}
	var failed []error
	for _, node := range s.Nodes {
		if node != nil {
			failed = append(failed, l.signer.deregister(s, node, opts))
		}
	}
	return errors.Join(failed...)
}
