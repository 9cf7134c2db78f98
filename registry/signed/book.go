package signed

import (
	"crypto/sha256"
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

// boxKey is a pair of box keys: replicas may share one half of it.
type boxKey struct {
	key    string
	pq     [sha256.Size]byte // the digest of the post-quantum key; zero if there is none
	peerID string
}

func boxKeyOf(key recordKey, peerID string) boxKey {
	name := boxKey{key: string(key.x25519), peerID: peerID}
	if key.pq != nil {
		name.pq = sha256.Sum256(key.pq)
	}
	return name
}

// keyUse is by how many entries a box key is used. When it is none any more, the key
// lingers, and the chain of the last still has to be trusted.
type keyUse struct {
	key     recordKey
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
		name := boxKeyOf(key, peerID)
		use := b.keys[name]
		if use == nil {
			use = &keyUse{key: key}
			b.keys[name] = use
		}
		use.entries++
		use.chain, use.until = n.chain, later(use.until, until)
		_ = b.directory.AddSealKey(peerID, key.x25519, key.pq, until)
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
		b.keys[boxKeyOf(key, n.signer())].entries--
	}
}

// revoke takes all of n out, but for the keys that other entries have too.
func (b *book) revoke(n *entry) {
	b.remove(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range n.record.boxKeys {
		b.forget(boxKeyOf(key, n.signer()), key)
	}
}

// forget takes a key out that no entry has. The caller holds mu.
func (b *book) forget(name boxKey, key recordKey) {
	if use := b.keys[name]; use == nil || use.entries == 0 {
		delete(b.keys, name)
		b.directory.RemoveSealKey(name.peerID, key.x25519, key.pq)
	}
}

// recheck takes out the lingering keys that nothing trusted vouches for any more.
func (b *book) recheck(vouched func(chain []*x509.Certificate) bool) {
	b.mu.Lock()
	lingering := make(map[boxKey]keyUse)
	for name, use := range b.keys {
		if use.entries == 0 {
			lingering[name] = *use
		}
	}
	b.mu.Unlock()
	for name, use := range lingering {
		if !vouched(use.chain) {
			b.mu.Lock()
			b.forget(name, use.key)
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
