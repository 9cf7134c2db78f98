package identity

import (
	"context"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Defaults of LoadOptions.
const (
	DefaultReread      = 30 * time.Second
	DefaultBoxKeyGrace = 24 * time.Hour
)

// LoadOption changes how Load reads and follows a directory.
type LoadOption func(*loadOptions)

type loadOptions struct {
	read    keys.ReadOptions
	reread  time.Duration
	grace   time.Duration
	logger  *slog.Logger
	onEvent func(Event)
}

// GroupReadable accepts secrets that their group may read (mode 0640 or 0440), as
// Kubernetes makes them for a pod with an fsGroup. They are refused by default.
func GroupReadable() LoadOption {
	return func(o *loadOptions) { o.read.GroupReadable = true }
}

// RereadEvery sets how often the directory is read again even if the kernel
// reports no change. The default is 30 seconds; there is no way to turn it off,
// and less than 10 milliseconds counts as that.
func RereadEvery(d time.Duration) LoadOption {
	return func(o *loadOptions) { o.reread = max(d, 10*time.Millisecond) }
}

// BoxKeyGrace sets how long box keys that were replaced, post-quantum ones included,
// still open what was sealed to them: the largest age of a message that is to be read. The default is 24
// hours; zero forgets it at once. Replaced keys live in memory only, so a restart
// forgets them too.
func BoxKeyGrace(d time.Duration) LoadOption {
	return func(o *loadOptions) { o.grace = d }
}

// Logger sets where reloads and warnings are logged. The default is slog.Default.
func Logger(l *slog.Logger) LoadOption {
	return func(o *loadOptions) { o.logger = l }
}

// OnEvent has f called for each event, one after the other, without a lock held.
// Unlike the log it is not rate-limited, except that the latest of the events that
// wait for a slow f win once there are 64.
func OnEvent(f func(Event)) LoadOption {
	return func(o *loadOptions) { o.onEvent = f }
}

// Load reads an identity from a directory: tls.crt, tls.key and ca.crt, and where
// they exist ca.crl, box.key, pq.key, trust/<domain>.crt and trust/<domain>.crl.
// Without a box.key or pq.key one is made, which lives as long as the Identity: what
// was sealed to it and is still under way when the process ends cannot be opened any
// more.
//
// The set is checked as a whole, and whatever is wrong with it is an error that
// names the file, the reason and the remedy: a secret that others could read, PEM
// that is not exactly what it should be, a key that does not match, a leaf that
// has expired, is revoked or is no leaf, a revocation list that no CA has signed.
//
// The directory is followed until Close: on each change, and on a timer besides,
// it is read and checked again as a whole and put in force in one step. If
// anything is wrong, what works stays in force; that is logged, counted and
// reported to OnEvent. The ID may not change, and a revocation list may neither go
// away nor go back to an older number: for that, restart the service.
func Load(dir string, opts ...LoadOption) (*Identity, error) {
	o := loadOptions{reread: DefaultReread, grace: DefaultBoxKeyGrace, logger: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	set, err := firstSet(dir, o.read)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity: load: %w: run signet issue, or set %s to the right directory", err, EnvDir)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: load: %w", err)
	}
	l := &loader{dir: dir, read: o.read, digest: set.Digest, events: &events{logger: o.logger, f: o.onEvent}}
	if err := l.makeKeys(set); err != nil {
		return nil, fmt.Errorf("identity: load: make a box key: %w", err)
	}
	l.id = newIdentity(set, o.grace)
	l.id.reloads = &l.events.counts
	l.warn(time.Now())
	watcher, degraded := keys.Watch(dir, o.reread, l.check)
	if degraded != nil {
		l.events.emit(Event{Kind: WatchDegraded, Err: fmt.Errorf("identity: %w", degraded)})
	}
	l.id.close = func() error {
		l.events.shut()
		return watcher.Close()
	}
	return l.id, nil
}

// firstSet reads a directory that somebody may be renewing at this moment: a key
// and a certificate that do not match are given half a second to do so.
func firstSet(dir string, o keys.ReadOptions) (*keys.Set, error) {
	const tries, pause = 5, 100 * time.Millisecond
	var err error
	for range tries {
		var set *keys.Set
		if set, err = keys.ReadSet(dir, o, time.Now()); err == nil {
			return set, nil
		}
		if !errors.Is(err, ErrMismatch) {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), pause)
		<-ctx.Done()
		cancel()
	}
	return nil, err
}

// loader follows the directory of one identity, in the watcher's goroutine.
type loader struct {
	id         *Identity
	dir        string
	read       keys.ReadOptions
	events     *events
	digest     [32]byte         // of what is in force
	processBox *ecdh.PrivateKey // made at start because the directory held none
	processPQ  hpke.PrivateKey  // the same of the post-quantum one
}

// makeKeys makes the box keys that the directory does not hold.
func (l *loader) makeKeys(set *keys.Set) (err error) {
	if set.Box == nil {
		if set.Box, err = keys.NewBoxKey(); err != nil {
			return err
		}
		l.processBox = set.Box
	}
	if set.PQ == nil {
		if set.PQ, err = keys.NewPQKey(); err != nil {
			return err
		}
		l.processPQ = set.PQ
	}
	return nil
}

// check reads the directory again and puts in force what it finds.
func (l *loader) check() {
	now := time.Now()
	defer l.warn(now)
	set, err := keys.ReadSet(l.dir, l.read, now)
	revoked := set != nil && errors.Is(err, ErrRevoked)
	if err != nil && !revoked {
		l.events.emit(Event{Kind: ReloadFailed, Err: fmt.Errorf("identity: reload: %w: what was loaded before stays in force", err)})
		return
	}
	if set.Digest == l.digest {
		l.events.settled()
		return
	}
	if err := l.replace(set); err != nil {
		l.events.emit(Event{Kind: ReloadFailed, Err: fmt.Errorf("identity: reload: %w: what was loaded before stays in force", err)})
		return
	}
	l.digest = set.Digest
	l.events.emit(Event{Kind: Reloaded, NotAfter: set.Leaf().NotAfter})
	if revoked {
		l.events.emit(Event{Kind: SelfRevoked, Err: fmt.Errorf("identity: reload: %w: peers refuse this service: issue a new certificate", err)})
	}
}

func (l *loader) replace(set *keys.Set) error {
	was, err := l.id.current()
	if err != nil {
		return err
	}
	if set.ID != was.set.ID {
		return fmt.Errorf("%s is there instead of %s: restart the service to change its identity", set.ID, was.set.ID)
	}
	if err := set.Trust.Supersedes(was.set.Trust); err != nil {
		return err
	}
	if err := l.keepKeys(set); err != nil {
		return err
	}
	l.id.replace(func(was *state) *state {
		return &state{set: set, self: newPeer(set.ID, set.Leaf(), true), retired: was.retire(SealKey{set.Box, set.PQ}, l.id.grace)}
	})
	return nil
}

// keepKeys adds the box keys that were made at start, as long as the directory holds
// none. One that was a file and has gone is no reason to make another.
func (l *loader) keepKeys(set *keys.Set) error {
	gone := func(name string) error {
		return fmt.Errorf("%s has gone from %s: put it back, or restart the service to do without", name, l.dir)
	}
	if set.Box == nil {
		if l.processBox == nil {
			return gone(keys.BoxKeyFile)
		}
		set.Box = l.processBox
	}
	if set.PQ == nil {
		if l.processPQ == nil {
			return gone(keys.PQKeyFile)
		}
		set.PQ = l.processPQ
	}
	return nil
}

// warn says that the leaf is past two thirds of its lifetime, or has ended.
func (l *loader) warn(now time.Time) {
	state, err := l.id.current()
	if err != nil {
		return
	}
	leaf := state.set.Leaf()
	due := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2)
	switch {
	case now.After(leaf.NotAfter):
		l.events.emit(Event{Kind: Expired, NotAfter: leaf.NotAfter, Err: fmt.Errorf("identity: %w: the certificate of %s ended at %s: renew it", ErrExpired, state.set.ID, stamp(leaf.NotAfter))})
	case !now.Before(due):
		l.events.emit(Event{Kind: ExpiresSoon, NotAfter: leaf.NotAfter, Err: fmt.Errorf("identity: the certificate of %s ends at %s and two thirds of its lifetime are over: renew it", state.set.ID, stamp(leaf.NotAfter))})
	}
}
