package quic

import (
	"context"
	"net"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/transport"
)

type (
	identityKey     struct{}
	authorizeKey    struct{}
	viaKey          struct{}
	limitsKey       struct{}
	timeoutsKey     struct{}
	requireKnownKey struct{}
	dialFromKey     struct{}
	resetKeyKey     struct{}
	noOffloadKey    struct{}
	listenOnKey     struct{}
)

// Identity is who this side is and whom it trusts. Certificates, trust and
// revocations that are renewed while it runs take effect on new and on live
// connections. The transport does not close it.
func Identity(id *identity.Identity) transport.Option { return setOption(identityKey{}, id) }

// Authorize asks f about every peer, in both directions, once its certificate
// has been verified: a nil error lets it in. f runs once a connection, and again
// over live connections when the trust of the identity changes; it must be safe
// for concurrent use and quick. Without it every verified member of the trust
// domain may connect.
func Authorize(f func(identity.Peer) error) transport.Option { return setOption(authorizeKey{}, f) }

// Via names services whose members may carry calls to other services: proxies
// and gateways. A call is otherwise sent only to a peer that is itself the
// called service. The option replaces an earlier Via.
func Via(services ...string) transport.Option {
	return setOption(viaKey{}, append([]string(nil), services...))
}

// Limits bounds what a peer can make this side hold. A zero field means its
// default.
type Limits struct {
	Body        int // bytes of one message body; default 64 MiB
	HeaderBytes int // bytes of one message's header block; default 1 MiB
	Headers     int // headers of one message; default 1000

	// Partial is how many bytes all messages together may hold that have begun to
	// arrive and are not complete; default 512 MiB. A message past it is refused.
	Partial int64

	// Streams is how many sockets one connection may have open to a listener;
	// default 4096. A client that needs more opens further connections.
	Streams int
	// Connections is how many established connections a listener holds;
	// default 65536.
	Connections int
	// ConnectionsPerHost is how many of them may come from one IPv4 address or
	// IPv6 /64; default 4096.
	ConnectionsPerHost int
	// Handshakes is how many handshakes may be under way at a listener; default
	// 1024. Past a quarter of it clients must first prove their address (Retry,
	// RFC 9000 section 8.1.2).
	Handshakes int
	// HandshakesPerHost is how many of them may come from one IPv4 address or
	// IPv6 /64; default 128.
	HandshakesPerHost int
	// Buffered is how many bytes of flow-control window all connections
	// together may be given above the 8 MiB that each has from the start;
	// default 256 MiB.
	Buffered int64
}

// Limit sets the limits; see Limits for defaults.
func Limit(l Limits) transport.Option { return setOption(limitsKey{}, l) }

// Timeouts bounds how long things take. A zero field means its default.
type Timeouts struct {
	// Handshake is how long a peer may stay silent while a connection is set
	// up; default 2 s. It is what a dial to a dead port costs.
	Handshake time.Duration
	// Write is how long a Send may make no progress; default 30 s. A message
	// that carries a shorter Timeout header, as go-micro's calls do, is bound by
	// that; transport.Timeout overrides both.
	Write time.Duration
	// Idle is how long a client connection none of whose sockets waits for
	// anything is kept; default 90 s.
	Idle time.Duration
	// Drain is how long Close of a listener waits for calls in flight; default
	// 5 s.
	Drain time.Duration
}

// Timing sets the timeouts; see Timeouts for defaults.
func Timing(t Timeouts) transport.Option { return setOption(timeoutsKey{}, t) }

// RequireKnown refuses to dial an address to which the identity's peer directory
// binds no peer. It needs a registry that fills the directory.
func RequireKnown() transport.Option { return setOption(requireKnownKey{}, true) }

// DialFrom makes the transport dial from pc instead of from a UDP socket of its
// own. The transport owns pc from then on.
func DialFrom(pc net.PacketConn) transport.Option { return setOption(dialFromKey{}, pc) }

// StatelessResetKey lets a listener that lost its state, by a crash, tell
// clients so at once (RFC 9000 section 10.3). The key must be secret, random,
// stable across restarts, and not shared by listeners that one observer can
// reach (section 21.11). By default it comes of the identity's box key, the host
// name and the address; without an identity it is random for each listener, and
// a client finds out by itself.
func StatelessResetKey(key [32]byte) transport.Option { return setOption(resetKeyKey{}, key) }

// DisableReceiveOffload reads the UDP socket packet by packet even where the
// kernel can hand over many at once (UDP_GRO, Linux 5.0). It is here to measure
// the difference and to sidestep a broken driver.
func DisableReceiveOffload() transport.Option { return setOption(noOffloadKey{}, true) }

// ListenOn makes a listener receive on pc instead of on a UDP socket of its
// own; the address given to Listen is then ignored. The listener owns pc from
// then on. go-micro's transport.NetListener is for TCP and is not used.
func ListenOn(pc net.PacketConn) transport.ListenOption {
	return func(o *transport.ListenOptions) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, listenOnKey{}, pc)
	}
}

func setOption(key, value any) transport.Option {
	return func(o *transport.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key, value)
	}
}

// option reads what setOption stored, or the zero value.
func option[T any](ctx context.Context, key any) T {
	var zero T
	if ctx == nil {
		return zero
	}
	if v, ok := ctx.Value(key).(T); ok {
		return v
	}
	return zero
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Body, 64<<20)
	setDefault(&l.HeaderBytes, 1<<20)
	setDefault(&l.Headers, 1000)
	setDefault(&l.Streams, 4096)
	setDefault(&l.Connections, 65536)
	setDefault(&l.ConnectionsPerHost, 4096)
	setDefault(&l.Handshakes, 1024)
	setDefault(&l.HandshakesPerHost, 128)
	setDefault(&l.Buffered, 256<<20)
	setDefault(&l.Partial, 512<<20)
	return l
}

func (l Limits) message() messageLimits {
	return messageLimits{headerBytes: uint64(l.HeaderBytes), headers: uint64(l.Headers), bodyBytes: uint64(l.Body)}
}

func (t Timeouts) withDefaults() Timeouts {
	setDefault(&t.Handshake, 2*time.Second)
	setDefault(&t.Write, 30*time.Second)
	setDefault(&t.Idle, 90*time.Second)
	setDefault(&t.Drain, 5*time.Second)
	return t
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
