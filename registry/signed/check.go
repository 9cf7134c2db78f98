package signed

import (
	"crypto/sha256"
	"crypto/x509"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
)

// checked is what came of an offer: an entry, or an error, or a refusal that is
// remembered.
type checked struct {
	offer   *offer
	entry   *entry
	peer    identity.Peer // the signer, as far as it is known
	err     error
	junk    uint64 // under which a refusal is remembered
	refused *negative
}

// checkAll checks offers, many of them on all processors.
func (e *engine) checkAll(offers []*offer, now time.Time, generation uint64) []checked {
	const few = 8
	out := make([]checked, len(offers))
	for i, o := range offers { // Authorize may end its goroutine
		out[i] = checked{offer: o, err: errUnchecked}
	}
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

var errUnchecked = reject(Unauthorised, "Authorize did not return")

// check does for one offer what is left to do: nothing if it is known junk, a look
// at the signer if it is known otherwise, else everything.
func (e *engine) check(o *offer, now time.Time, generation uint64) checked {
	c := checked{offer: o, junk: e.junkKey(o)}
	state := e.state(o.service, false)
	known := state.lookup(o)
	if known == nil {
		if was, ok := e.negatives.find(c.junk, generation, now); ok {
			c.refused = &was
			return c
		}
	}
	s, err := e.parse(o, now)
	c.peer = s.trust.peer
	if err != nil {
		c.err = err
		if known != nil {
			e.drop(known)
		}
		return c
	}
	if known != nil {
		if c.entry, c.err = e.renew(known, s.trust, s.trust.generation); c.entry != nil || c.err != nil {
			return c
		}
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

// junkKey returns what a refusal of an offer is remembered under. Authorize is shown
// endpoints and metadata, so its refusals depend on them too.
func (e *engine) junkKey(o *offer) uint64 {
	key := e.negatives.key(o)
	if e.authorize == nil {
		return key
	}
	sums := o.part.sums()
	return e.negatives.about(key, "", sums.endpoints, sums.metadata)
}

func newEntry(s *signedOffer, statement [sha256.Size]byte) *entry {
	node := copyNode(s.node)
	return &entry{
		service: s.service, version: s.version, id: node.Id,
		address: node.Address, metadata: node.Metadata,
		record: s.record, statement: statement, chain: s.chain,
		trust: s.trust,
	}
}

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

// refuse makes a rejection of an error, and remembers it. again: it was reported a
// moment ago. passed: the offer is let through all the same.
func (e *engine) refuse(c checked, generation uint64, now time.Time) (r Rejection, again, passed bool) {
	if c.refused != nil {
		return r, true, c.refused.passed
	}
	r = rejectionOf(c.offer, reasonOf(c.err), c.err)
	r.Peer = c.peer
	r.Passed = r.Reason != Limit && e.audit(c.offer.service)
	again = e.negatives.add(c.junk, r.Reason, r.Passed, generation, now)
	return r, again, r.Passed
}

func rejectionOf(o *offer, reason Reason, err error) Rejection {
	return Rejection{
		Service: cut(o.service), Version: cut(o.version), Node: cut(o.node.Id), Address: cut(o.node.Address),
		Reason: reason, Err: err,
	}
}

// cut copies the beginning of a string, so that nobody who keeps it keeps the whole.
func cut(s string) string {
	const most = 300
	return strings.Clone(s[:min(len(s), most)])
}
