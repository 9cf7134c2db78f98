package signed

import (
	"crypto/x509"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
)

// book enters what verified in the identity's peer directory, and takes it out
// again: addresses when no registration has them any more, box keys when nothing
// that is trusted vouches for them any more. Keys otherwise stay until their record
// ends, so that a service which is away for a moment is still sealed to.
type book struct {
	directory *identity.Directory

	mu        sync.Mutex
	entered   map[*entry]string // → its canonical address, or ""
	addresses map[binding]int   // by how many entries
	keys      map[boxKey]*keyUse
}

type binding struct{ address, peerID string }

type boxKey struct{ key, peerID string }

// keyUse is by how many entries a box key is used. When it is none any more, the key
// lingers, and the chain of the last still has to be trusted.
type keyUse struct {
	entries int
	chain   []*x509.Certificate
	until   time.Time
}

// add enters n. What has no host and port has no binding either, and what the
// directory has no room for goes without: the transport still compares names.
func (b *book) add(n *entry) {
	peerID, until := n.signer(), n.until()
	address, err := identity.CanonicalAddress(n.address)
	if err != nil {
		address = ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entered == nil {
		b.entered, b.addresses, b.keys = make(map[*entry]string), make(map[binding]int), make(map[boxKey]*keyUse)
	}
	b.entered[n] = address
	if address != "" {
		b.addresses[binding{address, peerID}]++
		_ = b.directory.Bind(address, peerID, until)
	}
	for _, key := range n.record.boxKeys {
		use := b.keys[boxKey{string(key), peerID}]
		if use == nil {
			use = new(keyUse)
			b.keys[boxKey{string(key), peerID}] = use
		}
		use.entries++
		use.chain, use.until = n.chain, later(use.until, until)
		_ = b.directory.AddKeys(peerID, key, until)
	}
}

// remove takes n's address out, unless another entry has it too. It does nothing
// if n is not in.
func (b *book) remove(n *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	address, ok := b.entered[n]
	if !ok {
		return
	}
	delete(b.entered, n)
	if use := (binding{address, n.signer()}); address != "" {
		if b.addresses[use]--; b.addresses[use] == 0 {
			delete(b.addresses, use)
			b.directory.Unbind(address, use.peerID)
		}
	}
	for _, key := range n.record.boxKeys {
		b.keys[boxKey{string(key), n.signer()}].entries--
	}
}

// revoke takes all of n out, but for the keys that other entries have too.
func (b *book) revoke(n *entry) {
	b.remove(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range n.record.boxKeys {
		b.forget(boxKey{string(key), n.signer()})
	}
}

// forget takes a key out that no entry has. The caller holds mu.
func (b *book) forget(key boxKey) {
	if use := b.keys[key]; use == nil || use.entries == 0 {
		delete(b.keys, key)
		b.directory.RemoveKey(key.peerID, []byte(key.key))
	}
}

// recheck takes out the lingering keys that nothing trusted vouches for any more.
func (b *book) recheck(vouched func(chain []*x509.Certificate) bool) {
	b.mu.Lock()
	lingering := make(map[boxKey][]*x509.Certificate)
	for key, use := range b.keys {
		if use.entries == 0 {
			lingering[key] = use.chain
		}
	}
	b.mu.Unlock()
	for key, chain := range lingering {
		if !vouched(chain) {
			b.mu.Lock()
			b.forget(key)
			b.mu.Unlock()
		}
	}
}

// sweep forgets the keys whose time is up. The directory does so itself.
func (b *book) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, use := range b.keys {
		if use.entries == 0 && !now.Before(use.until) {
			delete(b.keys, key)
		}
	}
}
