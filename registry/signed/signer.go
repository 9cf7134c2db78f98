package signed

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

const (
	// patience is how long a call for a node waits for an earlier one for the same
	// node, which the inner registry has not answered.
	patience = 30 * time.Second
	// farewell is how long Close waits for renewals that are under way.
	farewell = 5 * time.Second
)

// signer keeps the nodes of this process registered.
type signer struct {
	id       *identity.Identity
	engine   *engine
	inner    registry.Registry
	log      logger.Logger
	validity time.Duration
	recreate bool // the inner registry ignores what it knows
	mdns     bool // it sends packets
	// postQuantum: records state the post-quantum key.
	postQuantum bool

	// mu is not held while anything of the inner registry or the logger runs.
	mu      sync.Mutex
	nodes   map[nodeKey]*ownNode
	closed  bool
	running int           // renewals under way
	idle    chan struct{} // closed when the last of them ends, if Close waits for it
}

type nodeKey struct{ service, id string }

// ownNode is a node of this process. It is kept for a while after it was
// deregistered, for the sake of its sequence.
type ownNode struct {
	key nodeKey
	// turn is held by whoever calls the inner registry for the node, so that calls
	// do not overtake each other. It is no lock: those who wait for it give up.
	turn chan struct{}

	// The signer's mu guards the rest.
	users    int  // calls that have it in hand
	wanted   bool // Register was called, and Deregister not since
	opts     []registry.RegisterOption
	ttl      time.Duration
	asked    time.Time // when Register was last called
	timer    *time.Timer
	sequence uint64
	longest  time.Time   // when the last of its records ends
	newest   *signedNode // what is to be registered; nil after a withdrawal
	held     *signedNode // what the inner registry may hold
	accepted *signedNode // what it has accepted
	warned   bool        // of its size
}

// enter returns a node, for a call that ends with leave.
func (s *signer) enter(key nodeKey) *ownNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[key]
	if n == nil {
		if s.nodes == nil {
			s.nodes = make(map[nodeKey]*ownNode)
		}
		s.forget(time.Now())
		n = &ownNode{key: key, turn: make(chan struct{}, 1)}
		s.nodes[key] = n
	}
	n.users++
	return n
}

func (s *signer) leave(n *ownNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.users--
}

// forget makes room: a node that is gone is kept until no record of it counts any
// more. The caller holds mu.
func (s *signer) forget(now time.Time) {
	maps.DeleteFunc(s.nodes, func(_ nodeKey, n *ownNode) bool {
		return n.users == 0 && n.held == nil && !now.Before(n.longest)
	})
}

// holds reports whether this process has registered a node.
func (s *signer) holds(key nodeKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[key]
	return n != nil && n.held != nil
}

// take waits for the turn of a node.
func (n *ownNode) take() error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-timeout.C:
		return fmt.Errorf("signed: node %s: the inner registry has not answered an earlier call for %v: look at the registry", keys.Quote(n.key.id), patience)
	}
}

func (n *ownNode) release() { <-n.turn }

// register registers one, a copy of a service with one node.
func (s *signer) register(one *registry.Service, opts []registry.RegisterOption) error {
	n := s.enter(nodeKey{one.Name, one.Nodes[0].Id})
	defer s.leave(n)
	if err := n.take(); err != nil {
		return err
	}
	defer n.release()
	next, err := s.signed(n, one)
	if err != nil {
		return err
	}
	if err := s.want(n, opts); err != nil {
		return err
	}
	return s.place(n, next)
}

// want notes that Register was called.
func (s *signer) want(n *ownNode, opts []registry.RegisterOption) error {
	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	n.wanted, n.opts, n.ttl, n.asked = true, opts, o.TTL, time.Now()
	return nil
}

// signed returns one as it is to be registered: what was signed last, if it is still
// that, or else a new record. The caller has the turn.
func (s *signer) signed(n *ownNode, one *registry.Service) (*signedNode, error) {
	said, err := s.describe(one)
	if err != nil {
		return nil, err
	}
	sum, err := s.keysNow()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	was := n.newest
	s.mu.Unlock()
	if was.current(said.content, sum, time.Now()) {
		return was, nil
	}
	sequence, _ := s.next(n)
	next, err := s.sign(one, said, sequence, false, time.Time{})
	if err != nil {
		return nil, err
	}
	if s.mdns {
		if err := s.checkMDNS(n, next); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.newest, n.longest = next, later(n.longest, next.expires)
	return next, nil
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

// place puts next where the inner registry has what it holds of the node, and has it
// renewed in time. An error does not tell whether next has arrived, so from then on
// nothing older may be registered: it would be taken for a replay. The caller has the
// turn.
func (s *signer) place(n *ownNode, next *signedNode) error {
	s.mu.Lock()
	held := n.held
	s.mu.Unlock()
	if s.recreate && held != nil && held != next {
		if err := s.inner.Deregister(held.copy()); err != nil {
			return fmt.Errorf("signed: replace node %s: %w", keys.Quote(n.key.id), err)
		}
	}
	if err := s.hand(n, next); err != nil {
		return err
	}
	s.settle(n, next)
	return nil
}

// hand hands a node to the inner registry, which may keep what it gets. The context
// of the options may have ended with the Register call that they are from.
func (s *signer) hand(n *ownNode, next *signedNode) error {
	s.mu.Lock()
	n.held = next
	opts := append(append([]registry.RegisterOption(nil), n.opts...), func(o *registry.RegisterOptions) {
		if o.Context != nil {
			o.Context = context.WithoutCancel(o.Context)
		}
	})
	s.mu.Unlock()
	if err := s.inner.Register(next.copy(), opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
}

// settle notes that the inner registry has accepted a record, and when it is to be
// replaced.
func (s *signer) settle(n *ownNode, next *signedNode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.accepted = next
	in := time.Until(next.renew)
	// Under mu, so that identityChanged cannot come between and be missed.
	if sum, err := s.keysNow(); err == nil && sum != next.keys {
		in = 0
	}
	s.schedule(n, in)
}

// close stops renewals, and waits for those that are under way, but not for long.
func (s *signer) close() {
	s.mu.Lock()
	s.closed = true
	for _, n := range s.nodes {
		n.stop()
	}
	if s.running > 0 {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	if idle == nil {
		return
	}
	timeout := time.NewTimer(farewell)
	defer timeout.Stop()
	select {
	case <-idle:
	case <-timeout.C:
	}
}
