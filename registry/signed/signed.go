// Package signed is a go-micro registry that wraps another one, signs what this
// process registers, and lets through only what is signed:
//
//	registry := signed.NewRegistry(signed.Wrap(etcd.NewRegistry()), signed.Identity(id))
//	service := micro.NewService(micro.Name("greeter"), micro.Registry(registry))
//
// What it guarantees. A node that GetService or a watcher returns was registered by
// an identity that chains to our trust bundle, is not revoked, and may register
// that service name; its name, version, id, address and metadata, and the endpoints
// and service metadata beside it, are what that identity signed, no longer ago than
// the record's validity. A record is not accepted again once a newer one, or its
// withdrawal, has been seen. When a record, a certificate or a revocation ends a
// node's time, watchers report its deletion, so that go-micro's selector lets go of
// it. What verified is entered in the identity's peer directory, where
// transport/quic finds which peer must answer at an address.
//
// What it assumes. Clocks are right within a minute. The authorities in the trust
// bundle issue an ID only to the service it names.
//
// What it does not protect. Whoever can write to the registry can hide nodes, and
// can show a client that has seen nothing newer an old record until it expires; the
// transport's comparison of address and peer then keeps the call from anybody else.
// Names, addresses and metadata can be read in the registry. The names that
// ListServices returns without nodes, on mDNS, are hints. An mDNS registry is for
// development: its packets are parsed before we see them, and some crash it.
//
// Keys. The leaf's key signs, in a context of its own; spec/registry.md has the
// layout. A record states the box keys that others are to seal to; the post-quantum one with
// PostQuantum, but not on mDNS.
//
// Compatibility. The record travels in the node's metadata under the keys signet-0,
// signet-1, …; clients without this plugin read such nodes as before. Register,
// Deregister, GetService, ListServices and Watch otherwise do what the inner
// registry's do, except that an empty answer is no error: go-micro's cache would
// take registry.ErrNotFound for a reason to serve what it had. go-micro's default
// broker, http, registers every subscriber as "micro.http.broker": a service that keeps
// it needs Allow("micro.http.broker", …), or logs once at its start that it may not
// register that name; with another broker there is nothing to do.
package signed

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

// pluginName is how go-micro's MICRO_REGISTRY names us.
const pluginName = "signed"

func init() {
	cmd.DefaultRegistries[pluginName] = NewRegistry
}

// signedRegistry is resolved at its first use, because go-micro may call Init, and
// its plugins be given options, after its construction.
type signedRegistry struct {
	// fallback is what go-micro's default registry was at first: it may be us by now.
	fallback registry.Registry

	// setup is held while the inner registry is made and asked for its name, so that
	// there is one of it, and of us.
	setup sync.Mutex
	named registry.Registry // what $SIGNET_REGISTRY names, once it is made

	mu     sync.Mutex
	opts   registry.Options
	given  []registry.Option // all that opts were made of
	live   *live             // nil until the first use, and after a failure
	closed bool
}

// live is a registry that works: its options are in order.
type live struct {
	inner  registry.Registry
	id     *identity.Identity
	env    bool // the identity is from the environment: ours to close
	engine *engine
	signer *signer
	report *reporter
	stop   func() // follows trust no longer

	mu     sync.Mutex
	open   map[*watcher]struct{}
	closed bool
}

// NewRegistry returns the registry. It also has a Close method (io.Closer) that
// stops renewals and watchers; a process that exits need not call it. Options that
// are not of this package reach the inner registry through Init, and besides when
// $SIGNET_REGISTRY names it: give them to the constructor of one that Wrap names.
//
// The constructor cannot fail, so a configuration that is missing or refused is
// reported by Register, Deregister, GetService, ListServices and Watch.
func NewRegistry(opts ...registry.Option) registry.Registry {
	r := &signedRegistry{
		fallback: registry.DefaultRegistry,
		opts:     registry.Options{Logger: logger.DefaultLogger},
	}
	r.apply(opts)
	return r
}

func (r *signedRegistry) apply(opts []registry.Option) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given = append(r.given, opts...)
	for _, o := range opts {
		o(&r.opts)
	}
}

// Init applies options, and hands them to the inner registry too. Options of this
// package have no effect after the first use.
func (r *signedRegistry) Init(opts ...registry.Option) error {
	r.apply(opts)
	r.setup.Lock()
	inner, err := r.inner()
	r.setup.Unlock()
	if err != nil {
		return err
	}
	return inner.Init(opts...)
}

// Options returns the options of the wrapper.
func (r *signedRegistry) Options() registry.Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opts
}

// String returns the name of the inner registry.
func (r *signedRegistry) String() string {
	r.setup.Lock()
	inner, err := r.inner()
	r.setup.Unlock()
	if err != nil {
		return pluginName
	}
	return inner.String()
}

// GetService returns the nodes of a service that verify. If the inner registry
// answered and there are none, the answer is empty and err nil; err is the inner
// registry's, or the configuration's.
func (r *signedRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	l, err := r.reading()
	if err != nil {
		return nil, err
	}
	answer, err := l.inner.GetService(name, append(slices.Clip(opts), pernode.Option())...)
	if errors.Is(err, registry.ErrNotFound) {
		answer, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return assemble(name, l.engine.judge(name, answer)), nil
}

// use returns what the options make, or the first error of theirs.
func (r *signedRegistry) use() (*live, error) {
	if l, err := r.now(); l != nil || err != nil {
		return l, err
	}
	r.setup.Lock()
	defer r.setup.Unlock()
	if l, err := r.now(); l != nil || err != nil { // somebody came first
		return l, err
	}
	inner, err := r.inner()
	if err != nil {
		return nil, err
	}
	o := r.Options()
	l, err := resolve(inner, &o)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.live = l
	}
	r.mu.Unlock()
	if closed {
		return nil, errors.Join(ErrClosed, l.close())
	}
	return l, nil
}

// reading is use for those who ask what is trusted. Once the identity is closed nobody
// learns of revocations any more, so what is known counts no longer. (Deregister still
// has to work then.)
func (r *signedRegistry) reading() (*live, error) {
	l, err := r.use()
	if err != nil {
		return nil, err
	}
	if l.id.BoxKeys() == nil {
		return nil, fmt.Errorf("signed: %w", identity.ErrClosed)
	}
	return l, nil
}

// now returns what use has made, or nothing.
func (r *signedRegistry) now() (*live, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	return r.live, nil
}

// Close stops renewals and watchers. What was registered stays so until its lease or
// its record ends: Deregister first. It may be called again.
func (r *signedRegistry) Close() error {
	r.mu.Lock()
	l := r.live
	r.live, r.closed = nil, true
	r.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.close()
}

func resolve(inner registry.Registry, o *registry.Options) (*live, error) {
	authorize, asked := lookup[func(identity.Peer, *registry.Service) error](o.Context, authorizeKey{})
	if asked && authorize == nil {
		return nil, errors.New("signed: Authorize(nil) would let everybody in: leave the option out, or give a function")
	}
	recreate := option[bool](o.Context, recreateKey{}) || inner.String() == "memory" || inner.String() == "mdns"
	validity, err := validityOf(o, recreate)
	if err != nil {
		return nil, err
	}
	l := &live{inner: inner}
	if l.id, l.env, err = identityOf(o); err != nil {
		return nil, err
	}
	l.report = newReporter(option[func(Rejection)](o.Context, onRejectKey{}), o.Logger)
	v := &verifier{id: l.id, authorize: authorize, allow: option[map[string][]string](o.Context, allowKey{})}
	l.engine = newEngine(v, auditOf(o), l.report.all)
	mdns := inner.String() == "mdns"
	l.signer = &signer{
		id: l.id, engine: l.engine, inner: inner, log: l.report.log, validity: validity,
		recreate: recreate, mdns: mdns, postQuantum: !mdns && option[bool](o.Context, pqKey{}),
	}
	l.stop = l.id.OnChange(l.trustChanged)
	return l, nil
}

func (l *live) close() error {
	l.stop()
	l.signer.close()
	l.stopWatching()
	if l.env {
		return l.id.Close()
	}
	return nil
}

func identityOf(o *registry.Options) (id *identity.Identity, env bool, err error) {
	id, given := lookup[*identity.Identity](o.Context, identityKey{})
	switch {
	case given && id == nil:
		return nil, false, fmt.Errorf("signed: %w: signed.Identity(nil): check the error of what made the identity", ErrNoIdentity)
	case given:
		return id, false, nil
	}
	if id, err = identity.FromEnv(); err != nil {
		return nil, false, fmt.Errorf("signed: %w: pass signed.Identity(id), or name a directory made by `signet issue` in $SIGNET_IDENTITY: %w", ErrNoIdentity, err)
	}
	return id, true, nil
}

func validityOf(o *registry.Options, recreate bool) (time.Duration, error) {
	const least = 10 * time.Second
	d, given := lookup[time.Duration](o.Context, validityKey{})
	switch {
	case !given && recreate:
		return DefaultRecreateValidity, nil
	case !given:
		return DefaultValidity, nil
	case d < least || d > longestValidity:
		return 0, fmt.Errorf("signed: Validity(%v): want %v to %v", d, least, longestValidity)
	}
	return d, nil
}

// auditOf returns which services are under InsecureAudit.
func auditOf(o *registry.Options) func(string) bool {
	services, on := lookup[[]string](o.Context, auditKey{})
	return func(service string) bool {
		return on && (len(services) == 0 || slices.Contains(services, service))
	}
}
