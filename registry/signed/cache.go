package signed

import (
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What is remembered, in entries. Only signers whom the fleet trusts can fill the
// first; anybody who writes to the registry can fill the second.
const (
	maxKnown     = 65536
	maxNodes     = 16384 // nodes of one service, so that it leaves others room
	maxNegatives = 32768
	maxOffers    = 16384 // nodes of one answer that are looked at
	maxAlike     = 4     // versions of one node that are remembered at once
	maxSummed    = 4     // sets of endpoints of a service
	maxSigners   = 8     // signers of one node id whose sequences are remembered
)

// entry is an offer that verified. It is fixed: another verdict about its signer
// makes another entry, which takes its place.
type entry struct {
	service, version, id string

	address   string
	metadata  map[string]string // of the node, with the record
	record    *record
	statement [sha256.Size]byte
	chain     []*x509.Certificate
	trust     trust
	left      bool // a registry has deleted it: to be entered again if it is back
}

// with returns the entry with another verdict about its signer.
func (e *entry) with(t trust) *entry {
	next := *e
	next.trust, next.left = t, false
	return &next
}

// away returns the entry as one that a registry has deleted.
func (e *entry) away() *entry {
	next := *e
	next.left = true
	return &next
}

// matches reports whether an offer is byte for byte what verified.
func (e *entry) matches(o *offer) bool {
	if e.version != o.version || e.address != o.node.Address || len(e.metadata) != len(o.node.Metadata) {
		return false
	}
	for key, value := range o.node.Metadata {
		if was, ok := e.metadata[key]; !ok || was != value {
			return false
		}
	}
	return true
}

// signer returns the ID of who signed it.
func (e *entry) signer() string { return e.trust.peer.ID }

// until is when the entry stops to count, if trust does not change.
func (e *entry) until() time.Time {
	return earlier(e.record.expiresAt(), e.trust.until)
}

// fresh reports whether the entry counts at this moment without another look.
func (e *entry) fresh(now time.Time, generation uint64) bool {
	return e.trust.generation == generation && now.Before(e.trust.until) && now.Before(e.record.expiresAt()) && !e.left
}

// floor is the highest sequence that a signer has used for a node. It outlives the
// entry, until no record below it can be valid any more.
type floor struct {
	sequence  uint64
	statement [sha256.Size]byte
	withdrawn bool
	until     time.Time
}

// nodeState is what is known of one node id of a service.
type nodeState struct {
	entries []*entry
	floors  map[string]floor // by signer ID
}

// serviceState is what is known of a service.
type serviceState struct {
	mu    sync.RWMutex
	nodes map[string]*nodeState
	sums  atomic.Pointer[[]*summed]
}

// find returns the entry that an offer repeats. The caller holds mu.
func (s *serviceState) find(o *offer) *entry {
	n := s.nodes[o.node.Id]
	if n == nil {
		return nil
	}
	for _, e := range n.entries {
		if e.matches(o) {
			return e
		}
	}
	return nil
}

// lookup is find for those who do not hold mu.
func (s *serviceState) lookup(o *offer) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.find(o)
}

// all returns all entries.
func (s *serviceState) all() (entries []*entry) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, n := range s.nodes {
		entries = append(entries, n.entries...)
	}
	return entries
}

// floor is floorOf for those who do not hold mu.
func (s *serviceState) floor(id, signer string, now time.Time) (floor, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.floorOf(id, signer, now)
}

// floorOf returns the floor of a node. The caller holds mu.
func (s *serviceState) floorOf(id, signer string, now time.Time) (floor, bool) {
	n := s.nodes[id]
	if n == nil {
		return floor{}, false
	}
	f, ok := n.floors[signer]
	return f, ok && now.Before(f.until)
}

// refuses is the check of a record against what was seen before.
func (f floor) refuses(r *record) error {
	switch {
	case r.sequence < f.sequence:
		return reject(Replayed, "sequence %d, and %d has been seen: an old record was put back, or a backend lags behind", r.sequence, f.sequence)
	case r.sequence == f.sequence && f.withdrawn && !r.withdrawn:
		return reject(Replayed, "its service has withdrawn sequence %d", r.sequence)
	}
	return nil
}

// enter makes e known, unless it has been overtaken meanwhile. It returns the
// entries that it replaces. known counts the nodes of all services.
func (s *serviceState) enter(e *entry, now time.Time, known *atomic.Int64) (replaced []*entry, err error) {
	signer := e.signer()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[e.id]
	if n != nil {
		if err := n.overtaken(e, signer, now); err != nil {
			return nil, err
		}
	} else {
		if len(s.nodes) >= maxNodes {
			return nil, reject(Limit, "%d nodes of the service are known already", maxNodes)
		}
		if known.Add(1) > maxKnown {
			known.Add(-1)
			return nil, reject(Limit, "%d nodes are known already", maxKnown)
		}
		if s.nodes == nil {
			s.nodes = make(map[string]*nodeState)
		}
		n = &nodeState{floors: make(map[string]floor)}
		s.nodes[e.id] = n
	}
	n.raise(e, signer)
	var kept []*entry
	for _, was := range n.entries {
		if was.signer() == signer || len(kept) >= maxAlike-1 {
			replaced = append(replaced, was)
		} else {
			kept = append(kept, was)
		}
	}
	if !e.record.withdrawn {
		kept = append(kept, e)
	}
	n.entries = kept
	return replaced, nil
}

// swap puts next in the place of e, if e is still known.
func (s *serviceState) swap(e, next *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[e.id]
	if n == nil || !slices.Contains(n.entries, e) {
		return false
	}
	n.entries = slices.Clone(n.entries)
	n.entries[slices.Index(n.entries, e)] = next
	return true
}

// holds reports whether e is known.
func (s *serviceState) holds(e *entry) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.nodes[e.id]
	return n != nil && slices.Contains(n.entries, e)
}

func (n *nodeState) overtaken(e *entry, signer string, now time.Time) error {
	f, ok := n.floors[signer]
	if !ok || !now.Before(f.until) {
		return nil
	}
	if err := f.refuses(e.record); err != nil {
		return err
	}
	if e.record.sequence == f.sequence && e.statement != f.statement {
		return reject(Equivocation, "%s has signed two different statements under sequence %d: is one node id used twice?", signer, f.sequence)
	}
	return nil
}

func (n *nodeState) raise(e *entry, signer string) {
	next := floor{e.record.sequence, e.statement, e.record.withdrawn, e.record.expiresAt()}
	if was, ok := n.floors[signer]; ok {
		next.until = later(next.until, was.until) // the older record may last longer
	} else if len(n.floors) >= maxSigners {
		n.forgetFloor()
	}
	n.floors[signer] = next
}

// drop forgets an entry, not its floor. It reports whether it was there.
func (s *serviceState) drop(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[e.id]
	if n == nil || !slices.Contains(n.entries, e) {
		return false
	}
	n.entries = slices.DeleteFunc(slices.Clone(n.entries), func(was *entry) bool { return was == e })
	return true
}

// named returns the entries of a node id.
func (s *serviceState) named(id string) []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.nodes[id]; n != nil {
		return slices.Clone(n.entries)
	}
	return nil
}

// forgetFloor makes room by the floor that ends first.
func (n *nodeState) forgetFloor() {
	var first string
	var until time.Time
	for signer, f := range n.floors {
		if first == "" || f.until.Before(until) {
			first, until = signer, f.until
		}
	}
	delete(n.floors, first)
}

// sweep forgets what has ended, and returns how many nodes it forgot.
func (s *serviceState) sweep(now time.Time) (gone []*entry, nodes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.nodes)
	for _, n := range s.nodes {
		kept := n.entries[:0:0]
		for _, e := range n.entries {
			if now.Before(e.record.expiresAt()) {
				kept = append(kept, e)
			} else {
				gone = append(gone, e)
			}
		}
		n.entries = kept
		maps.DeleteFunc(n.floors, func(_ string, f floor) bool { return !now.Before(f.until) })
	}
	maps.DeleteFunc(s.nodes, func(_ string, n *nodeState) bool { return len(n.entries) == 0 && len(n.floors) == 0 })
	return gone, before - len(s.nodes)
}
