package signed

import (
	"errors"
	"sync"

	"github.com/go-signet/signet/identity"
)

// book enters what verified in the identity's peer directory, and takes it out
// again: addresses when no registration has them any more, box keys when their
// signer is not trusted any more. Keys otherwise stay until their record ends, so
// that a service which is away for a moment is still sealed to.
type book struct {
	directory *identity.Directory

	mu      sync.Mutex
	entered map[*entry]string // → its canonical address, or ""
	uses    map[binding]int   // by how many entries
}

type binding struct{ address, peerID string }

// add enters n. What has no host and port has no binding either, and what the
// directory has no room for goes without: the transport still compares names.
func (b *book) add(n *entry) error {
	peerID, until := n.signer(), n.until()
	address, err := identity.CanonicalAddress(n.address)
	if err != nil {
		address = ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.entered[n]; !ok {
		if b.entered == nil {
			b.entered, b.uses = make(map[*entry]string), make(map[binding]int)
		}
		b.entered[n] = address
		b.uses[binding{address, peerID}]++
	}
	var failed []error
	if address != "" {
		failed = append(failed, b.directory.Bind(address, peerID, until))
	}
	for _, key := range n.record.boxKeys {
		failed = append(failed, b.directory.AddKeys(peerID, key, until))
	}
	return errors.Join(failed...)
}

// remove takes n's address out, unless another entry has it too.
func (b *book) remove(n *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	address, ok := b.entered[n]
	if !ok {
		return
	}
	delete(b.entered, n)
	use := binding{address, n.signer()}
	if b.uses[use]--; b.uses[use] > 0 {
		return
	}
	delete(b.uses, use)
	if address != "" {
		b.directory.Unbind(address, use.peerID)
	}
}

// revoke takes all of n out.
func (b *book) revoke(n *entry) {
	b.remove(n)
	for _, key := range n.record.boxKeys {
		b.directory.RemoveKey(n.signer(), key)
	}
}
