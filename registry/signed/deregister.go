package signed

import (
	"errors"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// Deregister takes back what Register registered, authentically: it signs that
// nothing up to now counts any more, so that nobody can put the record back before
// the eyes of those who watch. What was not registered here is handed on as it is.
// If the withdrawal cannot be signed or published, the node is deregistered all the
// same, and that is logged. The error wraps ErrInvalid, or is the inner registry's
// or the configuration's; the node is then not renewed any more, and Deregister may
// be called again.
func (r *signedRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	l, err := r.use()
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("%w: Deregister(nil): give the service with the nodes to take back", ErrInvalid)
	}
	var failed []error
	none := true
	for _, node := range s.Nodes {
		if node != nil {
			none = false
			failed = append(failed, l.signer.deregister(s, node, opts))
		}
	}
	if none {
		return fmt.Errorf("%w: there is no node in it: give those to take back", ErrInvalid)
	}
	return errors.Join(failed...)
}

// deregister takes a node back.
func (s *signer) deregister(service *registry.Service, node *registry.Node, opts []registry.DeregisterOption) error {
	n := s.enter(nodeKey{service.Name, node.Id})
	defer s.leave(n)
	s.unwant(n)
	if err := n.take(); err != nil {
		return err
	}
	defer n.release()
	held := s.unwant(n) // a Register may have had the turn before us
	if held == nil {
		return s.forward(service, node, opts)
	}
	gone, err := s.withdraw(n, held)
	if err != nil {
		s.log.Logf(logger.WarnLevel, "signed: node %s of %s is deregistered without a signed withdrawal: until its record ends, it can be put back before clients: %v", keys.Quote(n.key.id), keys.Quote(n.key.service), err)
		gone = held
	}
	if err := s.inner.Deregister(gone.copy(), opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.held = nil
	return nil
}

// unwant ends the renewals of a node, and returns what the inner registry may hold.
func (s *signer) unwant(n *ownNode) *signedNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.wanted = false
	n.stop()
	return n.held
}

// forward hands on the deregistration of what we have not registered.
func (s *signer) forward(service *registry.Service, node *registry.Node, opts []registry.DeregisterOption) error {
	out := &registry.Service{Name: service.Name, Version: service.Version, Nodes: []*registry.Node{copyNode(node)}}
	if err := s.inner.Deregister(out, opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
}

// withdraw signs that a node is gone, and publishes it where what is registered is
// overwritten; elsewhere Deregister carries it. It outlasts every record of the
// node. The caller has the turn.
func (s *signer) withdraw(n *ownNode, held *signedNode) (*signedNode, error) {
	sequence, longest := s.next(n)
	s.mu.Lock()
	n.newest, n.accepted = nil, nil // what comes after a withdrawal is signed anew
	s.mu.Unlock()
	one := held.copy()
	carry(one.Nodes[0], nil)
	said, err := s.describe(one)
	if err != nil {
		return nil, err
	}
	gone, err := s.sign(one, said, sequence, true, longest)
	if err != nil {
		return nil, err
	}
	if s.recreate {
		return gone, nil
	}
	return gone, s.hand(n, gone)
}
