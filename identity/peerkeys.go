package identity

import (
	"bytes"
	"cmp"
	"crypto/ecdh"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// PeerKey is a pair of box keys of a peer.
type PeerKey struct {
	PeerID string
	Key    *ecdh.PublicKey // X25519
	// PQ is the post-quantum key that goes with Key, MLKEM768-X25519 of PQKeySize
	// bytes; nil if none is known. It has been checked: see CheckPQKey.
	PQ    []byte
	Until time.Time
}

// peerKeys are the box keys of one peer. What has a name of its own is the pair, not
// the X25519 key: replicas may share a box.key and yet have made a post-quantum key
// each, and a process makes another at each start, while the one before is still
// running. Who seals to one pair of several leaves out the others' replicas.
//
// An entry without a post-quantum key is silent about it, as the registrations of
// mDNS and small cards are. It is kept, because it may last longer, and not shown
// beside a pair.
type peerKeys struct {
	byKey map[string][]keyEntry // by X25519 key
	count int
}

// keyEntry is a pair that a card has brought, or AddSealKey, or both.
type keyEntry struct {
	key   SealPublicKey
	added time.Time // when it ends for AddSealKey, whose caller removes it again
	card  time.Time // when it ends for the card
	// chain vouches for what the card said; nil if there is none.
	chain []*x509.Certificate
}

func (e *keyEntry) until() time.Time { return later(e.added, e.card) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// find returns the entry of a pair, nil if there is none.
func (p *peerKeys) find(key, pq []byte) *keyEntry {
	if p == nil {
		return nil
	}
	entries := p.byKey[string(key)]
	i := slices.IndexFunc(entries, func(e keyEntry) bool { return bytes.Equal(e.key.PQ, pq) })
	if i < 0 {
		return nil
	}
	return &entries[i]
}

// live returns the pairs of an X25519 key that count at a time: a silent entry only
// if it is alone.
func live(entries []keyEntry, now time.Time) []keyEntry {
	var pairs, silent []keyEntry
	for _, e := range entries {
		switch {
		case !now.Before(e.until()):
		case e.key.PQ == nil:
			silent = append(silent, e)
		default:
			pairs = append(pairs, e)
		}
	}
	if len(pairs) == 0 {
		return silent
	}
	return pairs
}

// AddKeys is AddSealKey without a post-quantum key.
func (d *Directory) AddKeys(peerID string, key []byte, until time.Time) error {
	return d.AddSealKey(peerID, key, nil, until)
}

// AddSealKey enters a pair of box keys of a peer until a time: an X25519 public key of
// 32 bytes, and the post-quantum key that goes with it, of PQKeySize bytes; pq is nil
// or empty if none is known, which takes away none that was entered before. A peer may
// have several pairs, also of one X25519 key: replicas with one ID, or a pair and its
// successor. No pair replaces another. Entering a pair again moves its time, later
// only. The error wraps ErrInvalidName, ErrExpired or ErrDirectoryFull, or says that a
// key is none (see CheckBoxKey and CheckPQKey).
func (d *Directory) AddSealKey(peerID string, key, pq []byte, until time.Time) error {
	if err := checkEntry(peerID, until); err != nil {
		return err
	}
	pair, known := d.known(peerID, key, pq)
	if !known { // else it was checked then
		x25519, err := parseBoxKey(key)
		if err != nil {
			return err
		}
		pair = SealPublicKey{X25519: x25519}
		if len(pq) > 0 {
			if err := CheckPQKey(pq); err != nil {
				return err
			}
			pair.PQ = bytes.Clone(pq)
		}
	}
	return d.addPair(peerID, keyEntry{key: pair, added: until})
}

func (d *Directory) known(peerID string, key, pq []byte) (SealPublicKey, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.peers[peerID].find(key, pq); e != nil {
		return e.key, true
	}
	return SealPublicKey{}, false
}

// addCardKey enters a pair that a card states and chain vouches for.
func (d *Directory) addCardKey(peerID string, key SealPublicKey, until time.Time, chain []*x509.Certificate) error {
	if err := checkEntry(peerID, until); err != nil {
		return err
	}
	key.PQ = bytes.Clone(key.PQ) // which is part of the card
	return d.addPair(peerID, keyEntry{key: key, card: until, chain: chain})
}

// addPair enters what has been checked.
func (d *Directory) addPair(peerID string, entry keyEntry) error {
	d.mu.Lock()
	changed, err := d.enterPair(peerID, entry)
	d.mu.Unlock()
	if changed {
		d.changed()
	}
	return err
}

func (d *Directory) enterPair(peerID string, entry keyEntry) (changed bool, err error) {
	key := entry.key.X25519.Bytes()
	if was := d.peers[peerID].find(key, entry.key.PQ); was != nil {
		before := was.until()
		was.added = later(entry.added, was.added)
		if entry.chain != nil && !was.card.After(entry.card) {
			was.card, was.chain = entry.card, entry.chain
		}
		return was.until().After(before), nil
	}
	if err := d.roomForKey(peerID); err != nil {
		d.expire(time.Now())
		if err := d.roomForKey(peerID); err != nil {
			return false, err
		}
	}
	if d.peers == nil {
		d.peers = make(map[string]*peerKeys)
	}
	p := d.peers[peerID]
	if p == nil {
		p = &peerKeys{byKey: make(map[string][]keyEntry)}
		d.peers[peerID] = p
	}
	p.byKey[string(key)] = append(p.byKey[string(key)], entry)
	p.count++
	d.keyCount++
	return true, nil
}

func (d *Directory) roomForKey(peerID string) error {
	switch p := d.peers[peerID]; {
	case p != nil && p.count >= MaxKeysPerPeer:
		return fmt.Errorf("%w: %d box keys of one peer", ErrDirectoryFull, MaxKeysPerPeer)
	case d.keyCount >= MaxKeys:
		return fmt.Errorf("%w: %d box keys", ErrDirectoryFull, MaxKeys)
	}
	return nil
}

// RemoveKeys removes all box keys of a peer.
func (d *Directory) RemoveKeys(peerID string) {
	d.remove(peerID, func(*keyEntry) bool { return true })
}

// RemoveKey removes one X25519 key of a peer, of 32 bytes, and all pairs that it is in.
func (d *Directory) RemoveKey(peerID string, key []byte) {
	d.remove(peerID, func(e *keyEntry) bool { return bytes.Equal(e.key.X25519.Bytes(), key) })
}

// RemoveSealKey removes one pair of a peer, as AddSealKey entered it. Others with the
// same X25519 key stay.
func (d *Directory) RemoveSealKey(peerID string, key, pq []byte) {
	d.remove(peerID, func(e *keyEntry) bool {
		return bytes.Equal(e.key.X25519.Bytes(), key) && bytes.Equal(e.key.PQ, pq)
	})
}

func (d *Directory) remove(peerID string, which func(*keyEntry) bool) {
	d.mu.Lock()
	gone := d.dropKeys(peerID, which)
	d.mu.Unlock()
	if gone {
		d.changed()
	}
}

// dropKeys reports whether there were any. The caller holds mu.
func (d *Directory) dropKeys(peerID string, which func(*keyEntry) bool) (gone bool) {
	p := d.peers[peerID]
	if p == nil {
		return false
	}
	before := p.count
	for key, entries := range p.byKey {
		kept := slices.DeleteFunc(entries, func(e keyEntry) bool { return which(&e) })
		p.count -= len(entries) - len(kept)
		if p.byKey[key] = kept; len(kept) == 0 {
			delete(p.byKey, key)
		}
	}
	d.keyCount -= before - p.count
	if p.count == 0 {
		delete(d.peers, peerID)
	}
	return p.count < before
}

// Keys returns the box keys that a service of our own trust domain has at this
// moment, sorted by their bytes. An X25519 key is there once for each post-quantum key
// that goes with it, which is more often than once if replicas share the former only:
// seal to each pair with a suite that takes both, and once to each Key with one that
// takes X25519 alone. It is there without a post-quantum key only if none is known.
func (d *Directory) Keys(service string) []PeerKey {
	id, err := keys.NewID(d.home, service)
	if err != nil {
		return nil
	}
	return d.KeysOf(id.String())
}

// KeysOf is Keys for the SPIFFE ID of a peer, of any trust domain.
func (d *Directory) KeysOf(peerID string) []PeerKey {
	now := time.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	p := d.peers[peerID]
	if p == nil {
		return nil
	}
	var found []PeerKey
	for _, entries := range p.byKey {
		for _, e := range live(entries, now) {
			found = append(found, PeerKey{PeerID: peerID, Key: e.key.X25519, PQ: bytes.Clone(e.key.PQ), Until: e.until()})
		}
	}
	slices.SortFunc(found, func(a, b PeerKey) int {
		return cmp.Or(bytes.Compare(a.Key.Bytes(), b.Key.Bytes()), bytes.Compare(a.PQ, b.PQ))
	})
	return found
}

// Holder returns the peer that an X25519 key belongs to at this moment. Its
// certificate is there if a card has brought the key.
func (d *Directory) Holder(peerID string, key []byte) (peer Peer, until time.Time, known bool) {
	id, err := keys.ParseID(peerID)
	if err != nil {
		return Peer{}, time.Time{}, false
	}
	var leaf *x509.Certificate
	var best time.Time // the end of the card that leaf is from
	d.mu.RLock()
	if p := d.peers[peerID]; p != nil {
		for _, e := range p.byKey[string(key)] {
			until = later(until, e.until())
			if e.chain != nil && (leaf == nil || e.card.After(best)) {
				leaf, best = e.chain[0], e.card
			}
		}
	}
	d.mu.RUnlock()
	if !time.Now().Before(until) {
		return Peer{}, time.Time{}, false
	}
	return newPeer(id, leaf, id.TrustDomain == d.home), until, true
}

// recheck removes what a card has brought that is no longer vouched for.
func (d *Directory) recheck(vouched func(chain []*x509.Certificate) bool) {
	type suspect struct {
		peerID string
		entry  keyEntry
	}
	var suspects []suspect
	d.mu.RLock()
	for peerID, p := range d.peers {
		for _, entries := range p.byKey {
			for _, e := range entries {
				if e.chain != nil {
					suspects = append(suspects, suspect{peerID, e})
				}
			}
		}
	}
	d.mu.RUnlock()
	suspects = slices.DeleteFunc(suspects, func(s suspect) bool { return vouched(s.entry.chain) })
	changed := false
	d.mu.Lock()
	for _, s := range suspects {
		key, pq := s.entry.key.X25519.Bytes(), s.entry.key.PQ
		e := d.peers[s.peerID].find(key, pq)
		if e == nil || e.chain == nil {
			continue
		}
		e.card, e.chain = time.Time{}, nil
		if !time.Now().Before(e.added) {
			d.dropKeys(s.peerID, func(other *keyEntry) bool {
				return bytes.Equal(other.key.X25519.Bytes(), key) && bytes.Equal(other.key.PQ, pq)
			})
		}
		changed = true
	}
	d.mu.Unlock()
	if changed {
		d.changed()
	}
}
