package signed

import (
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
)

// retry is how long a renewal that has failed waits for the next try, at most: it is
// less where the record ends sooner.
const retry = 30 * time.Second

// schedule has a node renewed after a while. The caller holds mu.
func (s *signer) schedule(key nodeKey, n *ownNode, in time.Duration) {
	if s.closed {
		return
	}
	if n.timer == nil {
		n.timer = time.AfterFunc(max(in, 0), func() { s.renew(key, n) })
		return
	}
	n.timer.Reset(max(in, 0))
}

// renew signs a node anew and registers it again.
func (s *signer) renew(key nodeKey, n *ownNode) {
	if err := n.take(key); err != nil {
		s.again(key, n, err)
		return
	}
	defer n.release()
	sum, err := s.keysNow()
	if err != nil {
		s.again(key, n, err)
		return
	}
	was, err := s.due(key, n, sum)
	switch {
	case err != nil:
		s.log.Logf(logger.WarnLevel, "signed: node %s of %s is not renewed: %v", keys.Quote(key.id), keys.Quote(key.service), err)
		return
	case was == nil:
		return
	}
	one := was.copy()
	carry(one.Nodes[0], nil)
	if err := s.renewed(key, n, one, was); err != nil {
		s.again(key, n, err)
	}
}

// again has a renewal tried again, several times before the record ends.
func (s *signer) again(key nodeKey, n *ownNode, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || n.live == nil {
		return
	}
	in := retry
	if left := time.Until(n.live.expires); left > 0 {
		in = max(min(left/4, retry), time.Second)
	}
	in += rand.N(in / 4)
	s.log.Logf(logger.WarnLevel, "signed: node %s of %s is not renewed, the next try is in %v: %v", keys.Quote(key.id), keys.Quote(key.service), in.Round(time.Millisecond), err)
	s.schedule(key, n, in)
}

// identityChanged signs everything anew, if the certificate or the box key is
// another.
func (s *signer) identityChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.nodes {
		if n.live != nil {
			s.schedule(key, n, 0)
		}
	}
}
