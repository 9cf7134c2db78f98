package sealed

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

// sealedBroker is resolved at its first use, because go-micro gives its plugins
// options after their construction.
type sealedBroker struct {
	inner    broker.Broker
	copies   bool // inner keeps nothing of what it publishes
	report   *reporter
	inflight inflight
	counts   counts

	live atomic.Pointer[live] // nil until the first use, and after Init and Disconnect

	mu        sync.Mutex // never held while the inner broker or a handler runs
	opts      broker.Options
	err       error // of the configuration: every call returns it
	connected bool
	env       *identity.Identity // from the environment: ours to close
}

// NewBroker returns the broker. All options go on to the inner broker's Init too.
//
// The constructor cannot fail, so a configuration that is missing or refused is
// reported by Connect, Publish and Subscribe.
func NewBroker(opts ...broker.Option) broker.Broker {
	b := &sealedBroker{inner: broker.DefaultBroker}
	b.report = newReporter(b)
	for _, o := range opts {
		o(&b.opts)
	}
	if w, given := option[wrapped](b.opts.Context, wrapKey{}); given {
		b.inner = w.Broker
	}
	switch inner := b.inner.(type) {
	case nil:
		b.err = errors.New("sealed: Wrap(nil): give the broker that carries the messages")
		b.inner = broker.NewMemoryBroker() // never used: every call returns the error
		return b
	case *sealedBroker:
		b.err = errors.New("sealed: a broker that is sealed already: give Wrap the broker inside")
		b.inner = inner.inner
		return b
	}
	b.copies = copies(b.inner)
	if h := b.inner.Options().ErrorHandler; b.opts.ErrorHandler == nil {
		b.opts.ErrorHandler = h
	}
	b.err = b.inner.Init(b.forInner(opts)...)
	return b
}

// forInner are options as the inner broker gets them: its events are sealed, so its
// ErrorHandler is ours.
func (b *sealedBroker) forInner(opts []broker.Option) []broker.Option {
	if b.opts.ErrorHandler == nil {
		return opts
	}
	return append(opts[:len(opts):len(opts)], broker.ErrorHandler(b.handleError))
}

// Init applies options, and hands them to the inner broker. Rules that it brings take
// effect with the next message.
func (b *sealedBroker) Init(opts ...broker.Option) error {
	b.mu.Lock()
	was := b.opts
	for _, o := range opts {
		o(&b.opts)
	}
	forInner := b.forInner(opts)
	b.mu.Unlock()
	if err := b.inner.Init(forInner...); err != nil {
		b.mu.Lock()
		b.opts = was
		b.mu.Unlock()
		b.restart() // somebody may have begun with what was refused
		return err
	}
	b.restart()
	return nil
}

// restart makes the next call look at the options anew.
func (b *sealedBroker) restart() {
	if l := b.live.Swap(nil); l != nil {
		l.close()
	}
}

// Options returns the inner broker's, with the user's ErrorHandler.
func (b *sealedBroker) Options() broker.Options {
	o := b.inner.Options()
	b.mu.Lock()
	defer b.mu.Unlock()
	o.ErrorHandler = b.opts.ErrorHandler
	return o
}

// Address returns the inner broker's.
func (b *sealedBroker) Address() string { return b.inner.Address() }

// String returns the inner broker's name, lest MICRO_BROKER replace the wrapper by the
// broker inside.
func (b *sealedBroker) String() string { return b.inner.String() }

// Connect connects the inner broker. A configuration that is not in order is an error
// before anything is connected.
func (b *sealedBroker) Connect() error {
	b.setConnected(true) // before use, which loads an identity only then
	_, err := b.use()
	if err == nil {
		err = b.inner.Connect()
	}
	if err != nil {
		b.setConnected(false)
		return errors.Join(err, b.release())
	}
	return nil
}

// Disconnect disconnects the inner broker, and stops following the registry.
func (b *sealedBroker) Disconnect() error {
	err := b.inner.Disconnect()
	b.setConnected(false)
	return errors.Join(err, b.release())
}

// release lets go of what was made for a connection.
func (b *sealedBroker) release() error {
	b.restart()
	b.mu.Lock()
	env := b.env
	b.env = nil
	b.mu.Unlock()
	return env.Close() // of nil too
}

func (b *sealedBroker) setConnected(is bool) {
	b.mu.Lock()
	b.connected = is
	l := b.live.Load()
	b.mu.Unlock()
	if l != nil {
		l.follow.enable(is)
	}
}

// use returns what the options make, or the first error of theirs.
func (b *sealedBroker) use() (*live, error) {
	if l := b.live.Load(); l != nil {
		return l, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.live.Load(); l != nil { // somebody came first
		return l, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	id, err := b.identity()
	if err != nil {
		return nil, err
	}
	s, err := newSettings(&b.opts, id)
	if err != nil {
		return nil, err
	}
	l := newLive(s, b.connected, b.report)
	b.live.Store(l)
	return l, nil
}

// identity returns the one that was given, or that of the environment.
func (b *sealedBroker) identity() (*identity.Identity, error) {
	id, given := option[*identity.Identity](b.opts.Context, identityKey{})
	switch {
	case given && id == nil:
		return nil, fmt.Errorf("sealed: %w: sealed.Identity(nil): check the error of what made the identity", ErrNoIdentity)
	case given:
		return id, nil
	case b.env != nil:
		return b.env, nil
	case !b.connected:
		// Who Disconnects lets go of it; nobody else would.
		return nil, errors.New("sealed: not connected: call Connect first")
	}
	id, err := identity.FromEnv()
	if err != nil {
		return nil, fmt.Errorf("sealed: %w: pass sealed.Identity(id), or name a directory made by `signet issue` in $%s: %w", ErrNoIdentity, identity.EnvDir, err)
	}
	b.env = id
	return id, nil
}
