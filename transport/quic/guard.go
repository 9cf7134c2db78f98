package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// Refusals that peers cause are logged at this rate and burst at most.
const (
	logsPerSecond = 1
	logBurst      = 20
)

// guard bounds what clients that are not yet, or not, authenticated can take.
type guard struct {
	limits Limits
	logger logger.Logger
	// A flood of refusals must not hide why handshakes fail.
	refusals, failures *rate.Limiter

	mu         sync.Mutex
	handshakes int
	conns      int
	hosts      map[netip.Prefix]*host // those with anything under way
}

// host is what comes from one host.
type host struct{ handshakes, conns int }

func newGuard(set *settings) *guard {
	return &guard{
		limits:   set.limits,
		logger:   set.log,
		refusals: rate.NewLimiter(logsPerSecond, logBurst),
		failures: rate.NewLimiter(logsPerSecond, logBurst),
		hosts:    map[netip.Prefix]*host{},
	}
}

// log reports what a peer caused, at the rate of the limiter.
func (g *guard) log(limiter *rate.Limiter, format string, args ...any) {
	if limiter.Allow() {
		g.logger.Logf(logWarn, format, args...)
	}
}

// verifySource is quic-go's VerifySourceAddress: under load a client must show
// that it receives at its address before it costs us a handshake. Load is also
// that of its own address: forged packets that name a client as their source
// must not use up what that client may have under way.
func (g *guard) verifySource(addr net.Addr) bool {
	from := hostOf(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.hosts[from]; h != nil && h.handshakes >= max(g.limits.HandshakesPerHost/4, 1) {
		return true
	}
	return g.handshakes >= max(g.limits.Handshakes/4, 1)
}

// handshake is one attempt to connect, from its first packet to the end of the
// connection that it became.
type handshake struct {
	g         *guard
	from      netip.Prefix
	proved    verified // written during the handshake
	completed bool     // guarded by g.mu
	over      bool     // guarded by g.mu
}

type handshakeKey struct{}

// handshakeOf returns what admit put into the context of a connection.
func handshakeOf(ctx context.Context) *handshake {
	h, _ := ctx.Value(handshakeKey{}).(*handshake)
	return h
}

// provedBy gives the place for what the client of a handshake proves.
func provedBy(ctx context.Context) *verified {
	if h := handshakeOf(ctx); h != nil {
		return &h.proved
	}
	return nil
}

var (
	errTooMany     = errors.New("too many connections")
	errHandshaking = errors.New("too many handshakes under way")
)

// admit is quic-go's ConnContext: it counts a new connection, or refuses it.
func (g *guard) admit(ctx context.Context, info *quicgo.ClientInfo) (context.Context, error) {
	from := hostOf(info.RemoteAddr)
	g.mu.Lock()
	h := g.hosts[from]
	if h == nil {
		h = &host{}
	}
	var err error
	switch {
	case g.conns >= g.limits.Connections:
		err = fmt.Errorf("%w: Limits.Connections is %d", errTooMany, g.limits.Connections)
	case h.conns >= g.limits.ConnectionsPerHost:
		err = fmt.Errorf("%w: Limits.ConnectionsPerHost is %d", errTooMany, g.limits.ConnectionsPerHost)
	case g.handshakes >= g.limits.Handshakes:
		err = fmt.Errorf("%w: Limits.Handshakes is %d", errHandshaking, g.limits.Handshakes)
	case h.handshakes >= g.limits.HandshakesPerHost:
		err = fmt.Errorf("%w: Limits.HandshakesPerHost is %d", errHandshaking, g.limits.HandshakesPerHost)
	default:
		g.handshakes++
		h.handshakes++
		g.conns++
		h.conns++
		g.hosts[from] = h
	}
	g.mu.Unlock()
	if err != nil {
		g.log(g.refusals, "quic: refusing a connection from %s: %v", info.RemoteAddr, err)
		return nil, err
	}
	shake := &handshake{g: g, from: from}
	ctx = context.WithValue(ctx, handshakeKey{}, shake)
	remote := info.RemoteAddr
	context.AfterFunc(ctx, func() { shake.end(remote, context.Cause(ctx)) })
	return ctx, nil
}

// complete notes that the handshake succeeded.
func (s *handshake) complete() {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if s.completed || s.over {
		return
	}
	s.completed = true
	s.g.handshakes--
	s.g.hosts[s.from].handshakes--
}

// end gives back what the connection was counted for and, if the handshake
// failed, says why: quic-go's Accept reports only those that succeed.
func (s *handshake) end(remote net.Addr, cause error) {
	s.g.mu.Lock()
	failed := !s.completed
	if failed {
		s.g.handshakes--
		s.g.hosts[s.from].handshakes--
	}
	s.over = true
	s.g.conns--
	h := s.g.hosts[s.from]
	if h.conns--; h.conns == 0 {
		delete(s.g.hosts, s.from)
	}
	s.g.mu.Unlock()
	if failed && !closedCleanly(cause) {
		s.g.log(s.g.failures, "quic: handshake with %s failed: %s", remote, printable(cause.Error()))
	}
}

// hostOf is what limits per host count by: an IPv4 address, or the 64 bits of an
// IPv6 address that one host has to itself.
func hostOf(addr net.Addr) netip.Prefix {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Prefix{} // a packet connection of the user's: one bucket for all
	}
	ip := u.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // the zero prefix if there is no address
	return prefix
}
