// Package quic is a go-micro transport over QUIC that is mutually
// authenticated, always:
//
//	service := micro.NewService(micro.Name("greeter"), micro.Transport(quic.NewTransport()))
//
// What it guarantees. Every connection is TLS 1.3 with both sides authenticated
// by X.509 certificates that carry one SPIFFE ID each; there are no session
// tickets and no 0-RTT, so every connection proves possession of a key anew and
// nothing on the wire can be replayed. A call is sent only to a peer that
// proved to be the service the call names (the Micro-Service header), or that
// Via allows to carry it; where the identity's peer directory binds the dialled
// address, only to an identity bound there. Handlers learn who calls from
// identity.PeerFromContext, which no header that a caller or a broker sends can
// forge. A connection ends when a certificate behind it expires or is revoked,
// even if it is in use. Nothing downgrades: without an identity every Dial and
// Listen fails.
//
// What it assumes. The certificate authorities in the identity's trust bundle
// issue an ID only to the service it names, clocks are right within the
// certificates' validity, and UDP passes between the services.
//
// What it does not protect. Who talks to whom, when and how much is visible on
// the wire. Members of the fleet can exhaust a peer's processor by making valid
// calls. A handler that passes its context to another transport or to a broker
// passes on the caller's header with it; that header is of no use outside the
// process that made it, except back to the same process through a transport
// that is not this one.
//
// Keys. They come from package identity, or from a *tls.Config given by
// transport.TLSConfig, which is cloned and hardened. Without either option the
// directory that $SIGNET_IDENTITY names is used.
//
// Compatibility. The wire format is described in spec/transport.md and
// negotiated as ALPN protocol "signet/1". It does not interoperate with
// go-micro's older QUIC plugin.
package quic

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/transport"
	"go-micro.dev/v4/util/cmd"
)

func init() {
	cmd.DefaultTransports["quic"] = NewTransport
}

// NewTransport returns the transport. It also has a Close method (io.Closer)
// that ends all of its connections and listeners; a process that exits need not
// call it.
//
// The constructor cannot fail, so a configuration that is missing or refused is
// reported by every Dial and Listen.
func NewTransport(opts ...transport.Option) transport.Transport {
	t := &quicTransport{
		opts:      transport.Options{Logger: logger.DefaultLogger},
		listeners: map[*listener]struct{}{},
	}
	for _, o := range opts {
		o(&t.opts)
	}
	return t
}

// quicTransport is always used by pointer: go-micro's client compares
// transports with !=.
type quicTransport struct {
	mu        sync.Mutex
	opts      transport.Options
	settings  *settings // made from opts when first needed; nil after Init
	dialer    *dialer   // belongs to settings
	retired   []*dialer // of earlier settings, while they have connections
	listeners map[*listener]struct{}
	env       *identity.Identity // loaded from the environment: ours to close
	closed    bool
}

var _ io.Closer = (*quicTransport)(nil)

// Init applies further options. New dials and listeners use them; connections
// that earlier options made are used for no new call. The error is the one that
// Dial and Listen would return, except that a missing identity is not an error
// yet: a later Init may bring it.
func (t *quicTransport) Init(opts ...transport.Option) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("quic: %w: make a new transport", ErrClosed)
	}
	for _, o := range opts {
		o(&t.opts)
	}
	t.settings = nil
	if err := checkOptions(&t.opts); err != nil && !errors.Is(err, ErrNoIdentity) {
		return err
	}
	return nil
}

// Options returns the options in force.
func (t *quicTransport) Options() transport.Options {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opts
}

// String returns "quic".
func (t *quicTransport) String() string { return "quic" }

// Close ends the connections that were dialled at once, and the listeners as their
// own Close does. It is idempotent.
func (t *quicTransport) Close() error {
	t.mu.Lock()
	t.closed = true
	dialers := t.retired
	if t.dialer != nil {
		dialers = append(dialers, t.dialer)
	}
	listeners := t.listeners
	env := t.env
	t.dialer, t.retired, t.listeners, t.env = nil, nil, nil, nil
	t.mu.Unlock()

	var wg sync.WaitGroup
	for l := range listeners {
		wg.Go(func() { _ = l.Close() })
	}
	for _, d := range dialers {
		wg.Go(d.close)
	}
	wg.Wait()
	if env != nil {
		return env.Close()
	}
	return nil
}

// current returns the settings in force.
func (t *quicTransport) current() (*settings, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.currentLocked()
}

func (t *quicTransport) currentLocked() (*settings, error) {
	if t.closed {
		return nil, fmt.Errorf("quic: %w: make a new transport", ErrClosed)
	}
	if t.settings != nil {
		return t.settings, nil
	}
	s, env, err := resolve(&t.opts, t.env)
	if err != nil {
		return nil, err
	}
	t.settings, t.env = s, env
	return s, nil
}

// currentDialer returns the dialer that belongs to the settings in force.
func (t *quicTransport) currentDialer() (*dialer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.currentLocked()
	if err != nil {
		return nil, err
	}
	if t.dialer != nil && t.dialer.set == s {
		return t.dialer, nil
	}
	if t.dialer != nil && s.dialFrom != nil && s.dialFrom == t.dialer.set.dialFrom {
		return nil, errors.New("quic: the socket of DialFrom belongs to connections that earlier options made: give Init another one")
	}
	d, err := newDialer(s)
	if err != nil {
		return nil, err
	}
	if t.dialer != nil {
		t.dialer.retire()
		t.retired = append(slices.DeleteFunc(t.retired, (*dialer).isClosed), t.dialer)
	}
	t.dialer = d
	return d, nil
}

// withDialer runs f with the dialer in force. Init may replace it meanwhile, and
// it closes then as soon as nothing uses it: f runs again with the next one.
func (t *quicTransport) withDialer(f func(*dialer) error) error {
	for {
		d, err := t.currentDialer()
		if err != nil {
			return err
		}
		if err = f(d); !errors.Is(err, ErrClosed) || !d.isClosed() {
			return err
		}
	}
}

func (t *quicTransport) forget(l *listener) {
	t.mu.Lock()
	delete(t.listeners, l)
	t.mu.Unlock()
}
