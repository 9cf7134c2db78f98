package identity

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Limits of a peer directory. Only what was verified is entered, so they are there
// against a member of the fleet that has gone bad, not against the world.
const (
	MaxAddresses        = 16384 // addresses in all
	MaxAddressesPerPeer = 1024  // addresses bound to one peer
	MaxPeersPerAddress  = 64    // peers bound to one address
	MaxKeys             = 65536 // box keys in all, counted as pairs, of some 1.5 KB each
	MaxKeysPerPeer      = 256   // box keys of one peer: a pair for each replica
)

// Directory is what an identity knows of its peers: which of them answers at an
// address, and which box keys are theirs. Those who verify peers enter them: the
// signed registry, and Identity.AddCard. An entry lives until its time is up or it
// is removed, and nothing announces the end of its time. It is safe for concurrent
// use.
type Directory struct {
	home    string
	changes notifier
	version atomic.Uint64

	mu        sync.RWMutex
	addresses map[string]map[string]time.Time // address → peer ID → until
	perPeer   map[string]int                  // peer ID → addresses it is bound to
	peers     map[string]*peerKeys            // by peer ID; see peerkeys.go
	keyCount  int
	swept     time.Time
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
		d.changed()
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
		d.changed()
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

// Version counts the changes that OnChange tells of. It has gone up when what made a
// change returns, so that whoever keeps what the directory said can ask whether it
// still says so.
func (d *Directory) Version() uint64 { return d.version.Load() }

func (d *Directory) changed() {
	d.version.Add(1)
	d.changes.notify()
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
	for peerID := range d.peers {
		d.dropKeys(peerID, func(e *keyEntry) bool { return !now.Before(e.until()) })
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
