package envelope

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// scratch is what sealing and opening need and give back.
type scratch struct {
	bound []byte // the associated data
	hash  hash.Hash
	sum   [sha256.Size]byte
}

var scratches = sync.Pool{New: func() any { return &scratch{hash: sha256.New()} }}

// begin begins the associated data of a message: its prefix, which names the epoch
// and so the sender and the recipients, and the topic. The values of clear headers
// follow, whose names are in the prefix. Whether the epoch comes along is left out: see
// Epoch.Inline.
//
//go:noinline
func (s *scratch) begin(prefix []byte, topic string) {
	s.bound = append(s.bound[:0], prefix...)
	s.bound[flagsAt] &^= flagEpoch
	s.bound = appendSized(s.bound, topic)
}

// digest is what the sender proves: the associated data and the whole ciphertext. The
// cipher's own tag would not do, as every recipient can make one.
func (s *scratch) digest(ciphertext []byte) []byte {
	s.hash.Reset()
	binary.BigEndian.PutUint64(s.sum[:], uint64(len(s.bound)))
	s.hash.Write(s.sum[:8])
	s.hash.Write(s.bound)
	s.hash.Write(ciphertext)
	return s.hash.Sum(s.sum[:0])
}

// proofs make the tags of an epoch, with a key for each recipient. The zero value
// makes none.
type proofs struct {
	keys []key
	pool sync.Pool // of *tagger
}

// tagger has HMAC states whose keys are in place.
type tagger struct {
	states []hash.Hash
	sum    [sha256.Size]byte
}

func (p *proofs) add(k key) { p.keys = append(p.keys, k) }

func (p *proofs) size() int { return len(p.keys) * tagSize }

func (p *proofs) tagger() *tagger {
	if t, ok := p.pool.Get().(*tagger); ok {
		return t
	}
	t := &tagger{states: make([]hash.Hash, len(p.keys))}
	for i := range p.keys {
		t.states[i] = hmac.New(sha256.New, p.keys[i][:])
	}
	return t
}

// tag returns the i-th tag, until the next one.
func (t *tagger) tag(i int, digest []byte) []byte {
	t.states[i].Reset()
	t.states[i].Write(digest)
	return t.states[i].Sum(t.sum[:0])[:tagSize]
}

// append appends a tag for each key.
func (p *proofs) append(out, digest []byte) []byte {
	t := p.tagger()
	defer p.pool.Put(t)
	for i := range t.states {
		out = append(out, t.tag(i, digest)...)
	}
	return out
}

// verify compares the tag of the only key.
func (p *proofs) verify(tag, digest []byte) bool {
	t := p.tagger()
	defer p.pool.Put(t)
	return hmac.Equal(t.tag(0, digest), tag)
}
