package signed

import (
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// retry is how long a renewal that has failed waits for the next try, at most: it is
// less where the record ends sooner.
const retry = 30 * time.Second

// schedule has a node renewed after a while. The caller holds mu.
func (s *signer) schedule(n *ownNode, in time.Duration) {
	switch {
	case s.closed || !n.wanted:
	case n.timer == nil:
		n.timer = time.AfterFunc(max(in, 0), func() { s.renew(n) })
	default:
		n.timer.Reset(max(in, 0))
	}
}

// stop ends renewals, but for one that is under way. The caller holds mu.
func (n *ownNode) stop() {
	if n.timer != nil {
		n.timer.Stop()
	}
}

// renew signs a node anew if it is time, and registers it again.
func (s *signer) renew(n *ownNode) {
	if err := n.take(); err != nil {
		s.again(n, err)
		return
	}
	defer n.release()
	was, stale := s.begin(n)
	if stale {
		s.log.Logf(logger.WarnLevel, "signed: node %s of %s is not renewed: its service has not called Register within its TTL", keys.Quote(n.key.id), keys.Quote(n.key.service))
	}
	if was == nil {
		return
	}
	defer s.end()
	one := was.copy()
	carry(one.Nodes[0], nil)
	next, err := s.renewed(n, one)
	switch {
	case err != nil:
	case s.settled(n, next): // Register came first, or only trust has changed
		s.settle(n, next)
	default:
		err = s.place(n, next)
	}
	if err != nil {
		s.again(n, err)
	}
}

// renewed is signed for what was registered before: whether this identity may
// register the name may have changed with it.
func (s *signer) renewed(n *ownNode, one *registry.Service) (*signedNode, error) {
	if err := s.mayRegister(n.key.service); err != nil {
		return nil, err
	}
	return s.signed(n, one)
}

// begin returns what to renew of a node, if there is something to do: what the inner
// registry has accepted, since of all else Register has reported that it failed. Only
// a service that calls Register is kept registered.
func (s *signer) begin(n *ownNode) (was *signedNode, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || !n.wanted || n.accepted == nil:
		return nil, false
	case n.ttl > 0 && time.Since(n.asked) > n.ttl:
		return nil, true
	}
	s.running++
	return n.accepted, false
}

func (s *signer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.running == 0 && s.idle != nil {
		close(s.idle)
	}
}

// settled reports whether the inner registry has accepted next already.
func (s *signer) settled(n *ownNode, next *signedNode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.accepted == next
}

// again has a renewal tried again, several times before the record ends.
func (s *signer) again(n *ownNode, err error) {
	s.mu.Lock()
	if s.closed || !n.wanted || n.accepted == nil {
		s.mu.Unlock()
		return
	}
	in := retry
	if left := time.Until(n.accepted.expires); left > 0 {
		in = max(min(left/4, retry), time.Second)
	}
	in += rand.N(in / 4)
	s.schedule(n, in)
	s.mu.Unlock()
	s.log.Logf(logger.WarnLevel, "signed: node %s of %s is not renewed, the next try is in %v: %v", keys.Quote(n.key.id), keys.Quote(n.key.service), in.Round(time.Millisecond), err)
}

// identityChanged has every node looked at: it is signed anew if the certificate or
// the box key is another.
func (s *signer) identityChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n.accepted != nil {
			s.schedule(n, 0)
		}
	}
}
