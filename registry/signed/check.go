package signed

import (
	"crypto/sha256"
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
