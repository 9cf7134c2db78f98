package identity

import (
	"bytes"
	"crypto/ecdh"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Limits of a peer directory. Only what was verified is entered, so they are there
// against a member of the fleet that has gone bad, not against the world.
const (
	MaxAddresses        = 16384 // addresses in all
	MaxAddressesPerPeer = 1024  // addresses bound to one peer
	MaxPeersPerAddress  = 64    // peers bound to one address
	MaxKeys             = 65536 // box keys in all
	MaxKeysPerPeer      = 256   // box keys of one peer: one for each replica
)

// Directory is what an identity knows of its peers: which of them answers at an
// address, and which box keys are theirs. Those who verify peers enter them: the
// signed registry, and Identity.AddCard. An entry lives until its time is up or it
// is removed, and nothing announces the end of its time. It is safe for concurrent
// use.
type Directory struct {
	home    string
	changes notifier

	mu        sync.RWMutex
	addresses map[string]map[string]time.Time // address → peer ID → until
	perPeer   map[string]int                  // peer ID → addresses it is bound to
	peers     map[string]map[string]keyEntry  // peer ID → public key → entry
	keyCount  int
	swept     time.Time
}

// keyEntry is a key that a card has brought, or AddKeys, or both.
type keyEntry struct {
	key   *ecdh.PublicKey
	added time.Time // when it ends for AddKeys, whose caller removes it again
	card  time.Time // when it ends for the card
	// chain vouches for what the card said; nil if there is none.
	chain []*x509.Certificate
}

func (e keyEntry) until() time.Time { return later(e.added, e.card) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// PeerKey is a box key of a peer.
type PeerKey struct {
	PeerID string
	Key    *ecdh.PublicKey // X25519
	Until  time.Time
}

func newDirectory(home string) *Directory {
	return &Directory{home: home}
}

// Bind enters that a peer answers at an address, "host:port", until a time. Several
// peers may be bound to an address. Binding again moves the time, later only. The
// error wraps ErrInvalidName, ErrExpired or ErrDirectoryFull.
func (d *Directory) Bind(addr, peerID string, until time.Time) error {
	addr, err := canonical(addr)
	if err != nil {
		return err
	}
	if err := checkEntry(peerID, until); err != nil {
		return err
	}
	d.mu.Lock()
	changed, err := d.bind(addr, peerID, until)
	d.mu.Unlock()
	if changed {
		d.changes.notify()
	}
	return err
}

func (d *Directory) bind(addr, peerID string, until time.Time) (changed bool, err error) {
	if was, ok := d.addresses[addr][peerID]; ok {
		if !until.After(was) {
			return false, nil
		}
		d.addresses[addr][peerID] = until
		return true, nil
	}
	if err := d.roomToBind(addr, peerID); err != nil {
		d.expire(time.Now())
		if err := d.roomToBind(addr, peerID); err != nil {
			return false, err
		}
	}
	if d.addresses == nil {
		d.addresses, d.perPeer = make(map[string]map[string]time.Time), make(map[string]int)
	}
	if d.addresses[addr] == nil {
		d.addresses[addr] = make(map[string]time.Time)
	}
	d.addresses[addr][peerID] = until
	d.perPeer[peerID]++
	return true, nil
}

func (d *Directory) roomToBind(addr, peerID string) error {
	switch {
	case len(d.addresses[addr]) >= MaxPeersPerAddress:
		return fmt.Errorf("%w: %d peers at one address", ErrDirectoryFull, MaxPeersPerAddress)
	case d.perPeer[peerID] >= MaxAddressesPerPeer:
		return fmt.Errorf("%w: %d addresses of one peer", ErrDirectoryFull, MaxAddressesPerPeer)
	case d.addresses[addr] == nil && len(d.addresses) >= MaxAddresses:
		return fmt.Errorf("%w: %d addresses", ErrDirectoryFull, MaxAddresses)
	}
	return nil
}

// Unbind removes a peer from an address.
func (d *Directory) Unbind(addr, peerID string) {
	addr, err := canonical(addr)
	if err != nil {
		return
	}
	d.mu.Lock()
	changed := d.unbind(addr, peerID)
	d.mu.Unlock()
	if changed {
		d.changes.notify()
	}
}

func (d *Directory) unbind(addr, peerID string) (changed bool) {
	bound := d.addresses[addr]
	if _, ok := bound[peerID]; !ok {
		return false
	}
	delete(bound, peerID)
	if len(bound) == 0 {
		delete(d.addresses, addr)
	}
	if d.perPeer[peerID]--; d.perPeer[peerID] == 0 {
		delete(d.perPeer, peerID)
	}
	return true
}

// Bound returns the peers that are bound to an address at this moment, sorted, and
// whether there are any. Spellings of one address are one: case, leading zeros of
// a port, an IPv4 address mapped into IPv6, a dot at the end of a name.
func (d *Directory) Bound(addr string) (peerIDs []string, known bool) {
	addr, err := canonical(addr)
	if err != nil {
		return nil, false
	}
	now := time.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	for peerID, until := range d.addresses[addr] {
		if now.Before(until) {
			peerIDs = append(peerIDs, peerID)
		}
	}
	slices.Sort(peerIDs)
	return peerIDs, len(peerIDs) > 0
}

// AddKeys enters a box key of a peer, an X25519 public key of 32 bytes, until a
// time. A peer may have several: replicas with one ID, or a key and its successor.
// Entering a key again moves its time, later only. The error wraps ErrInvalidName,
// ErrExpired or ErrDirectoryFull, or says that the key is none.
func (d *Directory) AddKeys(peerID string, key []byte, until time.Time) error {
	return d.addKey(peerID, key, until, nil)
}

func (d *Directory) addKey(peerID string, raw []byte, until time.Time, chain []*x509.Certificate) error {
	if err := checkEntry(peerID, until); err != nil {
		return err
	}
	key, err := parseBoxKey(raw)
	if err != nil {
		return err
	}
	entry := keyEntry{key: key, added: until}
	if chain != nil {
		entry = keyEntry{key: key, card: until, chain: chain}
	}
	d.mu.Lock()
	changed, err := d.enterKey(peerID, entry)
	d.mu.Unlock()
	if changed {
		d.changes.notify()
	}
	return err
}

func (d *Directory) enterKey(peerID string, entry keyEntry) (changed bool, err error) {
	name := string(entry.key.Bytes())
	if was, ok := d.peers[peerID][name]; ok {
		entry.added = later(entry.added, was.added)
		if entry.chain == nil || was.card.After(entry.card) {
			entry.card, entry.chain = was.card, was.chain
		}
		d.peers[peerID][name] = entry
		return entry.until().After(was.until()), nil
	}
	if err := d.roomForKey(peerID); err != nil {
		d.expire(time.Now())
		if err := d.roomForKey(peerID); err != nil {
			return false, err
		}
	}
	if d.peers == nil {
		d.peers = make(map[string]map[string]keyEntry)
	}
	if d.peers[peerID] == nil {
		d.peers[peerID] = make(map[string]keyEntry)
	}
	d.peers[peerID][name] = entry
	d.keyCount++
	return true, nil
}

func (d *Directory) roomForKey(peerID string) error {
	switch {
	case len(d.peers[peerID]) >= MaxKeysPerPeer:
		return fmt.Errorf("%w: %d box keys of one peer", ErrDirectoryFull, MaxKeysPerPeer)
	case d.keyCount >= MaxKeys:
		return fmt.Errorf("%w: %d box keys", ErrDirectoryFull, MaxKeys)
	}
	return nil
}

// RemoveKeys removes all box keys of a peer.
func (d *Directory) RemoveKeys(peerID string) {
	d.mu.Lock()
	gone := len(d.peers[peerID])
	delete(d.peers, peerID)
	d.keyCount -= gone
	d.mu.Unlock()
	if gone > 0 {
		d.changes.notify()
	}
}

// RemoveKey removes one box key of a peer, of 32 bytes.
func (d *Directory) RemoveKey(peerID string, key []byte) {
	d.mu.Lock()
	_, found := d.peers[peerID][string(key)]
	if found {
		d.dropKey(peerID, string(key))
	}
	d.mu.Unlock()
	if found {
		d.changes.notify()
	}
}

// Keys returns the box keys that a service of our own trust domain has at this
// moment, sorted by their bytes.
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
	var found []PeerKey
	for _, entry := range d.peers[peerID] {
		if until := entry.until(); now.Before(until) {
			found = append(found, PeerKey{PeerID: peerID, Key: entry.key, Until: until})
		}
	}
	slices.SortFunc(found, func(a, b PeerKey) int { return bytes.Compare(a.Key.Bytes(), b.Key.Bytes()) })
	return found
}

// Holder returns the peer that a box key belongs to at this moment. Its certificate
// is there if a card has brought the key.
func (d *Directory) Holder(peerID string, key []byte) (peer Peer, until time.Time, known bool) {
	id, err := keys.ParseID(peerID)
	if err != nil {
		return Peer{}, time.Time{}, false
	}
	d.mu.RLock()
	entry, ok := d.peers[peerID][string(key)]
	d.mu.RUnlock()
	if until = entry.until(); !ok || !time.Now().Before(until) {
		return Peer{}, time.Time{}, false
	}
	var leaf *x509.Certificate
	if entry.chain != nil {
		leaf = entry.chain[0]
	}
	return newPeer(id, leaf, id.TrustDomain == d.home), until, true
}

// OnChange calls f after entries were made, prolonged or removed, on the terms of
// Identity.OnChange. It is not called when the time of an entry is up: PeerKey
// says when that will be.
func (d *Directory) OnChange(f func()) (cancel func()) {
	if f == nil {
		return func() {}
	}
	return d.changes.add(f)
}

// recheck removes what a card has brought that is no longer vouched for.
func (d *Directory) recheck(vouched func(chain []*x509.Certificate) bool) {
	type suspect struct{ peerID, key string }
	suspects := make(map[suspect][]*x509.Certificate)
	d.mu.RLock()
	for peerID, entries := range d.peers {
		for name, entry := range entries {
			if entry.chain != nil {
				suspects[suspect{peerID, name}] = entry.chain
			}
		}
	}
	d.mu.RUnlock()
	maps.DeleteFunc(suspects, func(_ suspect, chain []*x509.Certificate) bool { return vouched(chain) })
	changed := false
	d.mu.Lock()
	for s := range suspects {
		entry, ok := d.peers[s.peerID][s.key]
		switch {
		case !ok || entry.chain == nil:
			continue
		case time.Now().Before(entry.added):
			d.peers[s.peerID][s.key] = keyEntry{key: entry.key, added: entry.added}
		default:
			d.dropKey(s.peerID, s.key)
		}
		changed = true
	}
	d.mu.Unlock()
	if changed {
		d.changes.notify()
	}
}

func (d *Directory) dropKey(peerID, name string) {
	delete(d.peers[peerID], name)
	d.keyCount--
	if len(d.peers[peerID]) == 0 {
		delete(d.peers, peerID)
	}
}

// expire removes what has ended. It runs when room is short, so the directory is
// never larger than its limits, and no timer is needed; and once a second at most,
// so that a peer at its limit cannot make every call a sweep.
func (d *Directory) expire(now time.Time) {
	if now.Sub(d.swept) < time.Second {
		return
	}
	d.swept = now
	for addr, bound := range d.addresses {
		for peerID, until := range bound {
			if !now.Before(until) {
				d.unbind(addr, peerID)
			}
		}
	}
	for peerID, entries := range d.peers {
		for name, entry := range entries {
			if !now.Before(entry.until()) {
				d.dropKey(peerID, name)
			}
		}
	}
}

// shut ends the notifications; entries stay readable.
func (d *Directory) shut() { d.changes.shut() }

func checkEntry(peerID string, until time.Time) error {
	if _, err := keys.ParseID(peerID); err != nil {
		return fmt.Errorf("identity: peer directory: %w", err)
	}
	if now := time.Now(); !now.Before(until) {
		return fmt.Errorf("identity: peer directory: %w: the entry ends at %s, now is %s", ErrExpired, stamp(until), stamp(now))
	}
	return nil
}
