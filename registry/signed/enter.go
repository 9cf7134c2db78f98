package signed

import (
	"crypto/x509"
	"time"
)

// enter makes an entry known, here and in the peer directory.
func (e *engine) enter(n *entry, s *signedOffer, now time.Time) error {
	e.sweep(now)
	state := e.state(n.service, true)
	replaced, err := state.enter(n, now, &e.known)
	if err != nil {
		return err
	}
	state.remember(s.part, n.record)
	if !n.record.withdrawn {
		err = e.list(state, n, n.trust.generation)
	}
	for _, was := range replaced {
		e.unlist(was)
		if n.record.withdrawn || was.version != n.version {
			e.tell(was) // else the new record is the same node
		}
	}
	e.wake(n)
	return err
}

// renew puts another verdict about the signer of an entry in force, reached under a
// generation of the identity. It returns nothing if the entry is not known any more.
func (e *engine) renew(n *entry, t trust, generation uint64) (*entry, error) {
	state, next := e.state(n.service, false), n.with(t)
	if !state.swap(n, next) {
		return nil, nil
	}
	err := e.list(state, next, generation)
	e.unlist(n)
	e.wake(next)
	if err != nil {
		return nil, err
	}
	return next, nil
}

// list enters in the peer directory what has just become known, and was verified
// under a generation of the identity. Those who replace an entry, or drop it because
// of a change of trust, look for it in the directory once; if they came before it
// was there, it is taken out again here.
func (e *engine) list(state *serviceState, n *entry, generation uint64) error {
	e.book.add(n)
	if !state.holds(n) {
		e.unlist(n)
	}
	if err := e.vouched(n, generation); err != nil {
		e.drop(n)
		return err
	}
	return nil
}

// unlist takes an entry out of the peer directory, but for its box keys.
func (e *engine) unlist(n *entry) {
	e.book.remove(n)
	if e.vouched(n, n.trust.generation) != nil {
		e.book.revoke(n)
	}
}

// vouched looks at the signer of an entry again, if trust has changed since a
// generation.
func (e *engine) vouched(n *entry, generation uint64) error {
	if e.id.Generation() == generation {
		return nil
	}
	_, _, err := e.id.Verify(n.chain)
	return err
}

// drop forgets an entry that is not trusted any more, and its box keys.
func (e *engine) drop(n *entry) {
	gone := e.state(n.service, false).drop(n)
	e.book.revoke(n)
	if gone {
		e.tell(n)
	}
}

// leave takes an entry out of the peer directory, because a registry has deleted it.
// Should it come back, its signature need not be checked again.
func (e *engine) leave(n *entry) {
	if e.state(n.service, false).swap(n, n.away()) {
		e.unlist(n)
	}
}

// remove forgets an entry whose time is up.
func (e *engine) remove(n *entry) {
	gone := e.state(n.service, false).drop(n)
	e.unlist(n)
	if gone {
		e.tell(n)
	}
}

// sweep forgets what has ended, once a minute at most.
func (e *engine) sweep(now time.Time) {
	e.mu.Lock()
	if now.Sub(e.swept) < recheckWait {
		e.mu.Unlock()
		return
	}
	e.swept = now
	states := make([]*serviceState, 0, len(e.services))
	for _, s := range e.services {
		states = append(states, s)
	}
	e.mu.Unlock()
	for _, s := range states {
		gone, nodes := s.sweep(now)
		e.known.Add(-int64(nodes))
		for _, was := range gone {
			e.book.remove(was)
			e.tell(was)
		}
	}
	e.book.sweep(now)
}

// entries returns what is known of a service, or of all if it is "".
func (e *engine) entries(service string) (all []*entry) {
	e.mu.Lock()
	var states []*serviceState
	for name, s := range e.services {
		if service == "" || service == name {
			states = append(states, s)
		}
	}
	e.mu.Unlock()
	for _, s := range states {
		all = append(all, s.all()...)
	}
	return all
}

// expire forgets the entries of a service whose time is up, and returns when the
// next one's is; zero if there is none.
func (e *engine) expire(service string, now time.Time) (next time.Time) {
	for _, n := range e.entries(service) {
		until := n.until()
		switch {
		case !now.Before(until):
			e.remove(n)
		case next.IsZero() || until.Before(next):
			next = until
		}
	}
	return next
}

// recheck drops what is not trusted any more, after a change of trust, and prolongs
// what is trusted for longer. The policy is asked when the node is next looked at:
// until then the entry bears the generation that it was asked under.
func (e *engine) recheck() {
	generation := e.id.Generation()
	for _, n := range e.entries("") {
		peer, until, err := e.id.Verify(n.chain)
		switch {
		case err != nil:
			e.drop(n)
		case !n.left && !until.Equal(n.trust.until):
			_, _ = e.renew(n, trust{n.trust.generation, peer, until}, generation)
		}
	}
	e.book.recheck(func(chain []*x509.Certificate) bool {
		_, _, err := e.id.Verify(chain)
		return err == nil
	})
}
