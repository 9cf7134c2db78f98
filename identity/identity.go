package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Identity is who a service is. Authority.Issue makes one in memory, Load and
// FromEnv read one from files and follow them. It is safe for concurrent use, and
// prints as its ID, whatever the verb.
type Identity struct {
	now       atomic.Pointer[state] // nil in the zero value
	closed    atomic.Bool
	directory *Directory
	changes   notifier
	grace     time.Duration // how long box keys outlive their replacement

	mu    sync.Mutex // serialises changes of now; never held while user code runs
	close func() error
	// release gives one FromEnv back, and reports whether it was the last. It is nil
	// for an identity that has one owner.
	release func() (last bool)

	reloads *reloadCounts // nil unless it follows files
}

// state is one generation of an identity: immutable, swapped as a whole.
type state struct {
	set        *keys.Set
	self       Peer
	retired    []retiredKey // newest first
	generation uint64
}

func newIdentity(set *keys.Set, grace time.Duration) *Identity {
	id := &Identity{directory: newDirectory(set.ID.TrustDomain), grace: grace}
	id.now.Store(&state{set: set, self: newPeer(set.ID, set.Leaf(), true), generation: 1})
	return id
}

// current returns the generation in force.
func (id *Identity) current() (*state, error) {
	if id == nil {
		return nil, fmt.Errorf("%w: the identity is nil: use identity.Load or Authority.Issue", ErrNoIdentity)
	}
	now := id.now.Load()
	switch {
	case now == nil:
		return nil, fmt.Errorf("%w: the identity is a zero value: use identity.Load or Authority.Issue", ErrNoIdentity)
	case id.closed.Load():
		return nil, ErrClosed
	}
	return now, nil
}

// usable returns the generation in force if its leaf may be used at this moment.
func (id *Identity) usable() (*state, error) {
	now, err := id.current()
	if err != nil {
		return nil, err
	}
	leaf := now.set.Leaf()
	if t := time.Now(); t.After(leaf.NotAfter) {
		return nil, fmt.Errorf("identity: %w: the certificate of %s ended at %s, now is %s: renew it", ErrExpired, now.set.ID, stamp(leaf.NotAfter), stamp(t))
	}
	return now, nil
}

// replace puts a new generation in force. build gets the one before and returns
// the next, or nil for no change.
func (id *Identity) replace(build func(was *state) *state) {
	id.mu.Lock()
	was := id.now.Load()
	next := build(was)
	if next != nil {
		next.generation = was.generation + 1
		id.now.Store(next)
	}
	id.mu.Unlock()
	if next == nil {
		return
	}
	id.directory.recheck(id.vouches)
	id.changes.notify()
}

// vouches reports whether a chain verifies at this moment.
func (id *Identity) vouches(chain []*x509.Certificate) bool {
	_, _, err := id.Verify(chain)
	return err == nil
}

// Err says why the identity cannot be used: that it is nil, a zero value, or closed. It
// says nothing of the time of its certificate.
func (id *Identity) Err() error {
	_, err := id.current()
	return err
}

// ID returns the SPIFFE ID, spiffe://<trust domain>/<service>, "" for a zero value.
func (id *Identity) ID() string { return id.Peer().ID }

// String returns the ID.
func (id *Identity) String() string { return id.ID() }

// Format prints the ID, whatever the verb: nothing inside is for logs.
func (id *Identity) Format(f fmt.State, _ rune) { io.WriteString(f, id.ID()) }

// MarshalText returns the ID, for structured logs.
func (id *Identity) MarshalText() ([]byte, error) { return []byte(id.ID()), nil }

// Peer returns ourselves as a peer sees us; the zero Peer for a zero Identity. It
// still answers after Close.
func (id *Identity) Peer() Peer {
	if id == nil {
		return Peer{}
	}
	now := id.now.Load()
	if now == nil {
		return Peer{}
	}
	return now.self
}

// TLSCertificate returns the leaf, its chain and its key as they are now. The key
// is a crypto.Signer that cannot be printed. The error is ErrExpired once the leaf
// has ended, and ErrClosed after Close: ask anew for each handshake.
func (id *Identity) TLSCertificate() (*tls.Certificate, error) {
	now, err := id.usable()
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: now.set.Key, Leaf: now.set.Leaf()}
	for _, link := range now.set.Chain {
		cert.Certificate = append(cert.Certificate, link.Raw)
	}
	return cert, nil
}

// TrustPool returns a new pool of all CAs, of our own trust domain and of those we
// are federated with, for tls.Config.ClientCAs and RootCAs. It is empty after
// Close. A chain to this pool proves nothing yet: Verify decides, because each CA
// vouches for its own domain only.
func (id *Identity) TrustPool() *x509.CertPool {
	now, err := id.current()
	if err != nil {
		return x509.NewCertPool()
	}
	return now.set.Trust.Pool()
}

// Verify decides whether a chain that a peer presented, leaf first, proves who it
// is: exactly one URI name and it a SPIFFE ID, no CA, digitalSignature, both
// extended key usages; a chain to the CAs of the ID's own trust domain; validity
// now; and the revocation lists of those CAs. At most eight certificates are
// looked at. notAfter is when the verdict ends: the earliest end of a certificate
// or revocation list that it rests on.
//
// It does not decide what the peer may do, and it does not know whether the peer
// holds the key: TLS or VerifySignature says that.
//
// Errors wrap ErrNotSPIFFE, ErrUntrusted, ErrExpired, ErrNotYetValid, ErrRevoked,
// ErrStaleCRL or ErrClosed. They are for our own logs: do not tell the peer.
func (id *Identity) Verify(chain []*x509.Certificate) (peer Peer, notAfter time.Time, err error) {
	now := time.Now()
	return id.verifyAsOf(chain, now, now)
}

// VerifyAsOf is Verify for what was sent at a time in the past, by a peer whose
// certificate may have ended since: its certificates have to have been valid then,
// and must not be revoked now. Who holds a key that has leaked after its certificate
// ended can claim any such time: bound how old a message may be.
func (id *Identity) VerifyAsOf(chain []*x509.Certificate, at time.Time) (peer Peer, notAfter time.Time, err error) {
	return id.verifyAsOf(chain, at, time.Now())
}

func (id *Identity) verifyAsOf(chain []*x509.Certificate, at, t time.Time) (peer Peer, notAfter time.Time, err error) {
	now, err := id.current()
	if err != nil {
		return Peer{}, time.Time{}, err
	}
	peerID, notAfter, err := now.set.Trust.VerifyAsOf(chain, at, t)
	if err != nil {
		return Peer{}, time.Time{}, fmt.Errorf("identity: %w", err)
	}
	return newPeer(peerID, chain[0], peerID.TrustDomain == now.set.ID.TrustDomain), notAfter, nil
}

// Generation counts what is in force: it starts at 1 and goes up by one whenever
// the leaf, its key, a box key, the trust or a revocation list has changed. It is 0
// for a zero value.
func (id *Identity) Generation() uint64 {
	if id == nil {
		return 0
	}
	now := id.now.Load()
	if now == nil {
		return 0
	}
	return now.generation
}

// OnChange calls f after each change of Generation, in a goroutine of its own and
// without a lock held: f may call anything, Close and cancel included. Calls of
// one f do not overlap; changes that arrive while f runs are one more call. No
// call starts after cancel or Close has returned, one that runs may still finish.
func (id *Identity) OnChange(f func()) (cancel func()) {
	if _, err := id.current(); err != nil || f == nil {
		return func() {}
	}
	return id.changes.add(f)
}

// Directory returns the peer directory, the same one for the life of the identity.
func (id *Identity) Directory() *Directory {
	if id == nil {
		return nil
	}
	return id.directory
}

// Save writes the identity to a directory, made with mode 0700 if need be: tls.crt,
// tls.key, ca.crt, box.key, pq.key, and where there are any ca.crl and trust/*.
// Secrets get mode 0600. Files that are there are replaced one by one, each as a whole, so a
// service that runs on the directory picks the new set up.
//
// WARNING: this writes private keys. Only the service itself should be able to
// read the directory.
func (id *Identity) Save(dir string) error {
	now, err := id.current()
	if err != nil {
		return err
	}
	if err := now.set.Write(dir); err != nil {
		return fmt.Errorf("identity: save %s: %w", now.set.ID, err)
	}
	return nil
}

// Close stops following the files and ends the identity: everything that signs,
// verifies or hands out keys returns ErrClosed or nothing afterwards. It returns
// at once, also when a callback is still running, and may be called again.
//
// An identity from FromEnv is shared: each Close gives back one call of FromEnv,
// and the last does the above.
func (id *Identity) Close() error {
	if id == nil || id.now.Load() == nil {
		return nil
	}
	if id.release != nil && !id.release() {
		return nil
	}
	if id.closed.Swap(true) {
		return nil
	}
	id.changes.shut()
	id.directory.shut()
	if id.close == nil {
		return nil
	}
	if err := id.close(); err != nil {
		return fmt.Errorf("identity: close: %w", err)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
