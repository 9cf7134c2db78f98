package signed

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v4/registry"
)

// engine decides what a registry's answers are worth. It is shared by lookups and
// watches, so that each record is checked once for both.
type engine struct {
	*verifier
	audit     func(service string) bool
	report    func([]Rejection)
	negatives negatives
	book      book

	mu       sync.Mutex
	services map[string]*serviceState
	swept    time.Time
	known    atomic.Int64 // nodes in all services

	watchers watchers
}

func newEngine(v *verifier, audit func(string) bool, report func([]Rejection)) *engine {
	return &engine{
		verifier:  v,
		audit:     audit,
		report:    report,
		negatives: negatives{seed: maphash.MakeSeed()},
		book:      book{directory: v.id.Directory()},
		services:  make(map[string]*serviceState),
	}
}

// verdict is an offer that is let through.
type verdict struct {
	*offer
	entry *entry // nil if only InsecureAudit lets it through
	// withdrawn: the node is not let through, its service has taken it back.
	withdrawn bool
}

// until is when the verdict ends; zero if it does not.
func (v *verdict) until() time.Time {
	if v.entry == nil {
		return time.Time{}
	}
	return v.entry.until()
}

// state returns what is known of a service. A service becomes known by its first
// node that verifies, so that names cannot fill the memory.
func (e *engine) state(service string, create bool) *serviceState {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.services[service]
	if s == nil {
		s = new(serviceState)
		if create {
			e.services[service] = s
		}
	}
	return s
}

// judge returns what of a registry's answer may be used: for the service of that
// name, whatever name the answer bears.
func (e *engine) judge(service string, answer []*registry.Service) []verdict {
	const tries = 3 // each of them under another generation: trust does not change that fast
	for try := 1; ; try++ {
		now, generation := time.Now(), e.id.Generation()
		known, unknown := e.sort(service, answer, now, generation)
		verdicts, rejections := e.examine(service, known, unknown, now, generation)
		if len(rejections) > 0 {
			e.report(rejections)
		}
		if e.id.Generation() == generation || try == tries {
			return verdicts
		}
	}
}

// sort parts the nodes of an answer: those that are known, and count, from those that
// are to be checked.
func (e *engine) sort(service string, answer []*registry.Service, now time.Time, generation uint64) (known []verdict, unknown []*offer) {
	count := 0
	for _, s := range answer {
		if s != nil {
			count += len(s.Nodes)
		}
	}
	offers := make([]offer, 0, count)
	known = make([]verdict, 0, count)
	state := e.state(service, false)
	state.mu.RLock()
	defer state.mu.RUnlock()
	for _, s := range answer {
		if s == nil {
			continue
		}
		part := &parts{endpoints: s.Endpoints, metadata: s.Metadata, state: state}
		for _, node := range s.Nodes {
			if node == nil {
				continue
			}
			offers = append(offers, offer{service: service, version: s.Version, node: node, part: part})
			o := &offers[len(offers)-1]
			if entry := state.find(o); entry != nil && entry.fresh(now, generation) {
				known = append(known, verdict{offer: o, entry: entry})
			} else {
				unknown = append(unknown, o)
			}
		}
	}
	return known, unknown
}

// examine checks what is unknown, and returns all that may be used.
func (e *engine) examine(service string, known []verdict, unknown []*offer, now time.Time, generation uint64) (verdicts []verdict, rejections []Rejection) {
	verdicts = known
	if len(unknown) > maxOffers {
		rejections = e.tooMany(service, len(unknown), generation, now)
		unknown = unknown[:maxOffers]
	}
	for _, c := range e.checkAll(unknown, now, generation) {
		if c.err == nil && c.entry != nil {
			verdicts = append(verdicts, verdict{offer: c.offer, entry: c.entry, withdrawn: c.entry.record.withdrawn})
			continue
		}
		r, again, passed := e.refuse(c, generation, now)
		if !again {
			rejections = append(rejections, r)
		}
		if passed {
			verdicts = append(verdicts, verdict{offer: c.offer})
		}
	}
	verdicts = current(e.state(service, false), verdicts, time.Now())
	return verdicts, append(rejections, e.unvouched(verdicts, generation, now)...)
}

// tooMany reports that not all of an answer is looked at.
func (e *engine) tooMany(service string, count int, generation uint64, now time.Time) []Rejection {
	o := &offer{service: service, node: new(registry.Node)}
	if e.negatives.add(e.negatives.key(o), Limit, false, generation, now) {
		return nil
	}
	return []Rejection{rejectionOf(o, Limit, fmt.Errorf("%w: %d nodes that are not known: at most %d are looked at", errLimit, count, maxOffers))}
}

// current leaves out what has ended or been overtaken while the answer was being
// checked, or by another node of the same id: the one with the highest sequence
// stays. A withdrawal speaks for its signer only.
func current(state *serviceState, verdicts []verdict, now time.Time) []verdict {
	var best map[string]int
	if len(verdicts) > 1 {
		best = make(map[string]int, len(verdicts))
	}
	out := verdicts[:0]
	state.mu.RLock()
	defer state.mu.RUnlock()
	for _, v := range verdicts {
		if v.entry != nil {
			f, ok := state.floorOf(v.node.Id, v.entry.signer(), now)
			if ok && (v.entry.record.sequence < f.sequence || f.withdrawn && !v.withdrawn) || !now.Before(v.until()) {
				continue
			}
		}
		if v.withdrawn {
			out = append(out, v)
			continue
		}
		i, twice := best[v.node.Id]
		switch {
		case !twice:
			if best != nil {
				best[v.node.Id] = len(out)
			}
			out = append(out, v)
		case v.entry != nil && (out[i].entry == nil || v.entry.record.sequence > out[i].entry.record.sequence):
			out[i] = v
		}
	}
	return out
}

// unvouched reports the parts of let-through nodes that are not what was registered.
// Whoever assembles the answer leaves them out.
func (e *engine) unvouched(verdicts []verdict, generation uint64, now time.Time) (rejections []Rejection) {
	note := func(v *verdict, reason Reason, digest [digestSize]byte, err error) {
		if err == nil {
			err = errors.New("not what was registered with this node: nodes of one version were registered with different ones, or somebody changed them")
		}
		key := e.negatives.about(e.negatives.key(v.offer), string(reason), digest)
		if e.negatives.add(key, reason, true, generation, now) {
			return
		}
		r := rejectionOf(v.offer, reason, err)
		r.Peer, r.Passed = v.entry.trust.peer, true
		rejections = append(rejections, r)
	}
	for i := range verdicts {
		v := &verdicts[i]
		if v.entry == nil {
			continue
		}
		sums := v.part.sums()
		if len(v.part.endpoints) > 0 && !v.part.vouchedEndpoints(v.entry.record) {
			note(v, Endpoints, sums.endpoints, sums.endpointsErr)
		}
		if len(v.part.metadata) > 0 && !v.part.vouchedMetadata(v.entry.record) {
			note(v, Metadata, sums.metadata, sums.metadataErr)
		}
	}
	return rejections
}
