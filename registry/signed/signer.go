package signed

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// patience is how long a call for a node waits for an earlier one for the same node,
// which the inner registry has not answered.
const patience = 30 * time.Second

// signer keeps the nodes of this process registered.
type signer struct {
	id       *identity.Identity
	engine   *engine
	inner    registry.Registry
	log      logger.Logger
	validity time.Duration
	recreate bool // the inner registry ignores what it knows
	mdns     bool // it sends packets

	warned atomic.Bool // of the size of packets

	mu     sync.Mutex
	nodes  map[nodeKey]*ownNode
	closed bool
}

type nodeKey struct{ service, id string }

// ownNode is a node of this process. It is kept when it is deregistered, for the
// sake of its sequence.
type ownNode struct {
	// turn is held by whoever calls the inner registry for the node, so that calls
	// do not overtake each other. It is no lock: those who wait for it give up.
	turn chan struct{}

	// The signer's mu guards the rest.
	sequence uint64
	longest  time.Time   // when the last of its records ends
	live     *signedNode // nil if it is not registered
	opts     []registry.RegisterOption
	ttl      time.Duration
	asked    time.Time // when Register was last called
	timer    *time.Timer
}

func (s *signer) node(key nodeKey) *ownNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[key]
	if n == nil {
		if s.nodes == nil {
			s.nodes = make(map[nodeKey]*ownNode)
		}
		n = &ownNode{turn: make(chan struct{}, 1)}
		s.nodes[key] = n
	}
	return n
}

// registered returns what is registered of a node, nil if nothing is.
func (s *signer) registered(key nodeKey) *signedNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[key]; n != nil {
		return n.live
	}
	return nil
}

// take waits for the turn of a node.
func (n *ownNode) take(key nodeKey) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-timeout.C:
		return fmt.Errorf("signed: node %s: the inner registry has not answered an earlier call for %v: look at the registry", keys.Quote(key.id), patience)
	}
}

func (n *ownNode) release() { <-n.turn }

// register registers one, a copy of a service with one node.
func (s *signer) register(one *registry.Service, opts []registry.RegisterOption) error {
	key := nodeKey{one.Name, one.Nodes[0].Id}
	n := s.node(key)
	if err := n.take(key); err != nil {
		return err
	}
	defer n.release()

	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	content, err := s.contentOf(one)
	if err != nil {
		return err
	}
	sum, err := s.keysNow()
	if err != nil {
		return err
	}
	s.mu.Lock()
	was := n.live
	n.opts, n.ttl, n.asked = opts, o.TTL, time.Now()
	s.mu.Unlock()
	if was.current(content, sum, time.Now()) {
		return s.hand(was, opts)
	}
	return s.renewed(key, n, one, was)
}

// renewed signs one and puts it in the place of was. The caller has the turn.
func (s *signer) renewed(key nodeKey, n *ownNode, one *registry.Service, was *signedNode) error {
	sequence, _ := s.next(n)
	next, err := s.sign(one, sequence, false, time.Time{})
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	opts := n.opts
	n.longest = later(n.longest, next.expires)
	if was != nil {
		// next may get through even if the calls below fail, and then was is refused.
		was.renew = time.Time{}
	}
	s.mu.Unlock()
	if was != nil && s.recreate {
		if err := s.inner.Deregister(was.copy()); err != nil {
			return fmt.Errorf("signed: replace node %s: %w", keys.Quote(key.id), err)
		}
	}
	if err := s.hand(next, opts); err != nil {
		return err
	}
	in := time.Until(next.renew)
	if sum, err := s.keysNow(); err == nil && sum != next.keys {
		in = 0 // they changed meanwhile
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.live = next
	s.schedule(key, n, in)
	return nil
}

// next returns the sequence of a node's next record, and when its last one ends. It
// is above the one before, unless our clock was so far ahead then that nobody has
// accepted it: else we would be refused until time has caught up.
func (s *signer) next(n *ownNode) (sequence uint64, longest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if n.sequence > uint64(now.Add(clockSkew).UnixMicro()) {
		n.sequence = 0
	}
	n.sequence = max(n.sequence+1, uint64(now.UnixMicro()))
	return n.sequence, n.longest
}

// hand hands a node to the inner registry, which may keep what it gets.
func (s *signer) hand(n *signedNode, opts []registry.RegisterOption) error {
	if err := s.inner.Register(n.copy(), opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
}

func (n *signedNode) copy() *registry.Service {
	out := copyService(n.service)
	out.Nodes = copyNodes(n.service.Nodes)
	return out
}

// deregister takes a node back.
func (s *signer) deregister(service *registry.Service, node *registry.Node, opts []registry.DeregisterOption) error {
	key := nodeKey{service.Name, node.Id}
	s.mu.Lock()
	n := s.nodes[key]
	s.mu.Unlock()
	if n == nil {
		return s.forward(service, node, opts)
	}
	if err := n.take(key); err != nil {
		return err
	}
	defer n.release()
	s.mu.Lock()
	was := n.live
	n.live = nil
	if n.timer != nil {
		n.timer.Stop()
	}
	s.mu.Unlock()
	if was == nil {
		return s.forward(service, node, opts)
	}
	gone, err := s.withdraw(n, was)
	if err != nil {
		s.log.Logf(logger.WarnLevel, "signed: node %s is deregistered without a signed withdrawal: %v", keys.Quote(key.id), err)
		gone = was
	}
	if err := s.inner.Deregister(gone.copy(), opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
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
// overwritten. It has to outlast every record of the node.
func (s *signer) withdraw(n *ownNode, was *signedNode) (*signedNode, error) {
	sequence, longest := s.next(n)
	one := was.copy()
	carry(one.Nodes[0], nil)
	gone, err := s.sign(one, sequence, true, longest)
	if err != nil {
		return nil, err
	}
	if s.recreate {
		return gone, nil // Deregister carries it
	}
	s.mu.Lock()
	opts := n.opts
	s.mu.Unlock()
	return gone, s.hand(gone, opts)
}

// close stops renewals. One that is under way may still end.
func (s *signer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, n := range s.nodes {
		if n.timer != nil {
			n.timer.Stop()
		}
	}
}

var errStale = errors.New("its service has not called Register within its TTL")

// due decides whether the timer of a node finds something to do. If there is nothing
// yet, because Register came first or trust changed for others only, it is set again.
func (s *signer) due(key nodeKey, n *ownNode, sum [sha256.Size]byte) (was *signedNode, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || n.live == nil:
		return nil, nil
	case n.live.current(n.live.content, sum, time.Now()):
		s.schedule(key, n, time.Until(n.live.renew))
		return nil, nil
	case n.ttl > 0 && time.Since(n.asked) > n.ttl:
		return nil, errStale
	}
	return n.live, nil
}
