package nats

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/util/cmd"
)

func init() {
	cmd.DefaultBrokers["nats"] = NewBroker
}

// NewBroker returns the broker. It also has a method Stats.
//
// The constructor cannot fail and does not touch the network: a configuration that is
// missing or refused is reported by Init, Connect, Publish and Subscribe.
func NewBroker(opts ...broker.Option) broker.Broker {
	b := &natsBroker{opts: *broker.NewOptions(opts...), subs: map[*subscription]struct{}{}}
	b.report.set(&b.opts)
	return b
}

// natsBroker is always used by pointer.
type natsBroker struct {
	report reporter
	link   atomic.Pointer[link] // nil unless connected

	// connecting serialises Connect and Disconnect. Handlers run while it is held, so
	// nothing that a handler may call can wait for it, but Connect.
	connecting sync.Mutex
	env        *identity.Identity // loaded from the environment: ours to close

	mu   sync.Mutex
	opts broker.Options
	subs map[*subscription]struct{} // until Unsubscribe
}

// Init applies further options. What is connected stays so with the options it has; the
// next Connect uses the new ones. Logger, ErrorHandler and OnIncident change at once. The
// error is the one that Connect would return, except that a missing identity is not an
// error yet: a later Init may bring it.
func (b *natsBroker) Init(opts ...broker.Option) error {
	b.mu.Lock()
	for _, o := range opts {
		o(&b.opts)
	}
	b.report.set(&b.opts)
	all := b.opts
	b.mu.Unlock()
	// It asks for the JWT, by a function of the user's.
	if _, err := check(&all); err != nil && !errors.Is(err, ErrNoIdentity) {
		return err
	}
	return nil
}

// Options returns the options in force.
func (b *natsBroker) Options() broker.Options {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opts
}

// String returns "nats".
func (b *natsBroker) String() string { return "nats" }

// Address returns the server that the broker is connected to, or the first that it would
// try, as a URL without an account.
func (b *natsBroker) Address() string {
	if l := b.link.Load(); l != nil {
		if u, err := url.Parse(l.nc.ConnectedUrl()); err == nil && u.Host != "" {
			u.User = nil
			return u.String()
		}
	}
	o := b.Options()
	s, err := check(&o)
	if s == nil || err != nil && !errors.Is(err, ErrNoIdentity) {
		return ""
	}
	return address{host: s.addrs[0].host}.url(s.nats.Secure)
}

// Connect makes the connection, and makes anew the subscriptions that were there before a
// Disconnect. It is done at once if there is a connection, also one that is down for the
// moment. If no server can be reached it tries each once and returns an error; what was
// connected once reconnects for ever.
func (b *natsBroker) Connect() error {
	b.connecting.Lock()
	defer b.connecting.Unlock()
	if b.link.Load() != nil {
		return nil
	}
	o := b.Options()
	s, env, err := resolve(&o, b.env)
	b.env = env
	if err == nil {
		err = b.open(s)
	}
	if err != nil {
		b.release()
	}
	return err
}

// open dials, binds the subscriptions and puts the link in force. b.connecting is held.
func (b *natsBroker) open(s *settings) error {
	l, err := dial(b, s)
	if err != nil {
		return err
	}
	for _, sub := range b.subscriptions() {
		if err := sub.bind(l); err != nil {
			l.close()
			return fmt.Errorf("nats: subscribe again: %w", err)
		}
	}
	b.link.Store(l)
	l.begin()
	return nil
}

// Disconnect ends the connection: no further messages come in, those that were received
// are handled, what was published is sent. That takes DrainTimeout at most; what is not
// done by then is dropped, and the error is ErrDrain. Called by a handler, it does this in
// the background and returns at once. Without a connection it does nothing.
//
// Subscriptions stay with the broker until Unsubscribe, for the next Connect. What is
// published in between is lost to them, unless they are durable.
func (b *natsBroker) Disconnect() error {
	if calledByHandler() {
		go func() {
			if err := b.disconnect(); err != nil {
				b.report.logf(logger.WarnLevel, "%v", err)
			}
		}()
		return nil
	}
	return b.disconnect()
}

func (b *natsBroker) disconnect() error {
	b.connecting.Lock()
	defer b.connecting.Unlock()
	l := b.link.Load()
	if l == nil {
		return nil
	}
	err := l.drain(b.subscriptions())
	l.close()
	b.link.Store(nil)
	b.release()
	return err
}

// release gives the identity of the environment back. b.connecting is held.
func (b *natsBroker) release() {
	if b.env != nil {
		_ = b.env.Close()
		b.env = nil
	}
}

func (b *natsBroker) subscriptions() []*subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := make([]*subscription, 0, len(b.subs))
	for s := range b.subs {
		subs = append(subs, s)
	}
	return subs
}

// current returns the link, or says why there is none.
func (b *natsBroker) current() (*link, error) {
	if l := b.link.Load(); l != nil {
		return l, nil
	}
	o := b.Options()
	if _, err := check(&o); err != nil && !errors.Is(err, ErrNoIdentity) {
		return nil, err
	}
	return nil, fmt.Errorf("nats: %w: call Connect first", ErrNotConnected)
}
