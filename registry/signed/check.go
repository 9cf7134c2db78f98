package signed

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
)

// checked is what came of an offer.
type checked struct {
	offer *offer
	entry *entry
	peer  identity.Peer // the signer, as far as it is known
	err   error
	// junk is a hash of the offer, under which its refusal is remembered; refused is
	// the refusal if it already was.
	junk    uint64
	refused *Rejection
}

// checkAll checks offers, many of them on all processors.
func (e *engine) checkAll(offers []*offer, now time.Time, generation uint64) []checked {
	const few = 8
	out := make([]checked, len(offers))
	if len(offers) < few {
		for i, o := range offers {
			out[i] = e.check(o, now, generation)
		}
		return out
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(offers); i = int(next.Add(1)) - 1 {
				out[i] = e.check(offers[i], now, generation)
			}
		})
	}
	wg.Wait()
	return out
}

// check does for one offer what is left to do: nothing if it is known junk, a look
// at the signer if it is known otherwise, else everything.
func (e *engine) check(o *offer, now time.Time, generation uint64) checked {
	c := checked{offer: o}
	state := e.state(o.service, false)
	known := state.lookup(o)
	if known == nil {
		c.junk = e.negatives.key(o)
		if was, ok := e.negatives.find(c.junk, generation, now); ok {
			c.refused, c.err = &was, was.Err
			return c
		}
	}
	s, err := e.parse(o, now)
	c.peer = s.trust.peer
	switch {
	case err != nil:
		c.err = err
		if known != nil {
			e.drop(known)
		}
		return c
	case known != nil:
		known.trust.Store(&s.trust)
		c.entry, c.err = known, e.enter(known, s, now)
		return c
	}
	statement := s.statement()
	if f, ok := state.floor(o.node.Id, c.peer.ID, now); ok {
		if c.err = f.refuses(s.record); c.err != nil {
			return c
		}
		if f.withdrawn && f.statement == statement { // seen, and verified then
			c.entry = newEntry(s, statement)
			return c
		}
	}
	if c.err = s.checkSignature(); c.err != nil {
		return c
	}
	c.entry = newEntry(s, statement)
	c.err = e.enter(c.entry, s, now)
	return c
}

func newEntry(s *signedOffer, statement [sha256.Size]byte) *entry {
	node := copyNode(s.node)
	e := &entry{
		service: s.service, version: s.version, id: node.Id,
		address: node.Address, metadata: node.Metadata,
		record: s.record, statement: statement, chain: s.chain,
		entered: time.Now(),
	}
	e.trust.Store(&s.trust)
	return e
}

// enter makes an entry known, here and in the peer directory.
func (e *engine) enter(n *entry, s *signedOffer, now time.Time) error {
	e.sweep(now)
	if e.known.Load() >= maxKnown {
		return reject(Limit, "%d nodes are known already", maxKnown)
	}
	state := e.state(n.service, true)
	replaced, added, err := state.enter(n, now)
	if err != nil {
		return err
	}
	if added {
		e.known.Add(1)
	}
	state.remember(s.part, n.record)
	if !n.record.withdrawn {
		e.book.add(n)
	}
	for _, was := range replaced {
		if was == n {
			continue
		}
		e.book.remove(was)
		if n.record.withdrawn || was.version != n.version {
			e.tell(was) // else the new record is the same node
		}
	}
	e.wake(n)
	return nil
}

// drop forgets an entry that is not trusted any more, and its box keys.
func (e *engine) drop(n *entry) {
	gone := e.state(n.service, false).drop(n)
	e.book.revoke(n)
	if gone {
		e.tell(n)
	}
}

// remove forgets an entry whose registry has deleted it, or whose time is up.
func (e *engine) remove(n *entry) {
	gone := e.state(n.service, false).drop(n)
	e.book.remove(n)
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

// recheck drops what is not trusted any more, after a change of trust.
func (e *engine) recheck() {
	for _, n := range e.entries("") {
		if _, _, err := e.id.Verify(n.chain); err != nil {
			e.drop(n)
		}
	}
}

// refuse makes a rejection of an error, and remembers it. again: it has been
// reported already.
func (e *engine) refuse(c checked, generation uint64, now time.Time) (r Rejection, again bool) {
	if c.refused != nil {
		return *c.refused, true
	}
	r = rejectionOf(c.offer, reasonOf(c.err), c.err)
	r.Peer = c.peer
	r.Passed = r.Reason != Limit && e.audit(c.offer.service)
	if c.junk != 0 {
		e.negatives.add(c.junk, r, generation, now)
	}
	return r, false
}

func rejectionOf(o *offer, reason Reason, err error) Rejection {
	return Rejection{
		Service: cut(o.service), Version: cut(o.version), Node: cut(o.node.Id), Address: cut(o.node.Address),
		Reason: reason, Err: err,
	}
}

func cut(s string) string {
	const most = 300
	return s[:min(len(s), most)]
}
