package signed

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"
)

// negatives remembers offers that did not verify, so that junk costs its checks
// once a minute. A hash stands for the offer; its seed is secret, so nobody can make
// a good offer look like a bad one.
type negatives struct {
	seed maphash.Seed
	mu   sync.Mutex
	seen map[uint64]negative
}

// negative is what is kept of a refusal. Nothing in it is the registry's, whose
// strings may be long.
type negative struct {
	reason     Reason
	passed     bool
	generation uint64
	until      time.Time // when the offer is looked at again
	told       time.Time // when it was reported
}

// key hashes what a refusal depends on.
func (n *negatives) key(o *offer) uint64 {
	var h maphash.Hash
	h.SetSeed(n.seed)
	for _, s := range [...]string{o.service, o.version, o.node.Id, o.node.Address} {
		h.WriteString(s)
		h.WriteByte(0xff) // in no UTF-8
	}
	sum := h.Sum64()
	// The order of a map is none, so its pairs are added up.
	for key, value := range o.node.Metadata {
		h.Reset()
		h.WriteString(key)
		h.WriteByte(0xff)
		h.WriteString(value)
		sum += h.Sum64()
	}
	return sum
}

// about returns the key of a refusal that depends on more than the offer.
func (n *negatives) about(key uint64, what string, digests ...[digestSize]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(n.seed)
	h.Write(binary.LittleEndian.AppendUint64(nil, key))
	for _, d := range digests {
		h.Write(d[:])
	}
	h.WriteString(what)
	return h.Sum64()
}

// find returns the refusal of an offer, while it counts.
func (n *negatives) find(key, generation uint64, now time.Time) (negative, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, ok := n.seen[key]
	return was, ok && was.generation == generation && now.Before(was.until)
}

// add remembers a refusal, and reports whether it was reported a moment ago, by
// another goroutine or before trust changed.
func (n *negatives) add(key uint64, reason Reason, passed bool, generation uint64, now time.Time) (again bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, ok := n.seen[key]
	again = ok && was.reason == reason && was.passed == passed && now.Sub(was.told) < recheckWait
	next := negative{reason, passed, generation, now.Add(recheckWait), now}
	if again {
		next.told = was.told
	}
	if !ok && len(n.seen) >= maxNegatives {
		n.thin()
	}
	if n.seen == nil {
		n.seen = make(map[uint64]negative)
	}
	n.seen[key] = next
	return again
}

// thin forgets some, whichever come first. Were it all of them, somebody with a
// little more junk than we remember would have it checked each time.
func (n *negatives) thin() {
	for key := range n.seen {
		delete(n.seen, key)
		if len(n.seen) <= maxNegatives*3/4 {
			return
		}
	}
}
