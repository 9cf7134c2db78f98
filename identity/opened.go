package identity

import (
	"crypto/subtle"
	"crypto/x509"
	"sync/atomic"

	"github.com/go-signet/signet/internal/caller"
	"github.com/go-signet/signet/internal/keys"
)

// openedSlots is how many sealed callers are remembered, one of each live
// connection unless two fall on one slot.
const openedSlots = 256

// tagChars is the part of a sealed value that nobody can choose: its MAC, in
// base64.
const tagChars = 43

// opened remembers what sealed callers hold. A handler may ask for its caller at
// every request, and parsing a certificate costs more than all else that is done
// for a request. It changes no answer: a value holds the same caller for as long
// as this process lives.
var opened [openedSlots]atomic.Pointer[openedCaller]

type openedCaller struct {
	value, local, remote string
	peer                 Peer
}

// openCaller returns the peer that a transport sealed into value for a connection
// between these addresses.
func openCaller(value, local, remote string) (Peer, bool) {
	if len(value) < tagChars {
		return Peer{}, false
	}
	slot := &opened[(uint(value[0])<<4^uint(value[1]))%openedSlots]
	if o := slot.Load(); o != nil && o.holds(value, local, remote) {
		return o.peer, true
	}
	der, home, ok := caller.OpenHome(value, local, remote)
	if !ok {
		return Peer{}, false
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Peer{}, false
	}
	id, err := keys.CheckLeaf(leaf)
	if err != nil {
		return Peer{}, false
	}
	peer := newPeer(id, leaf, home)
	slot.Store(&openedCaller{value, local, remote, peer})
	return peer, true
}

// holds compares in constant time what a forger would have to guess, the MAC.
func (o *openedCaller) holds(value, local, remote string) bool {
	return subtle.ConstantTimeCompare([]byte(o.value[:tagChars]), []byte(value[:tagChars])) == 1 &&
		o.value == value && o.local == local && o.remote == remote
}
