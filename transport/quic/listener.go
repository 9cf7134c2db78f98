package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/udp"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
	mnet "go-micro.dev/v4/util/net"
)

// listener accepts connections on one UDP socket.
type listener struct {
	t     *quicTransport
	set   *settings
	pc    net.PacketConn
	qt    *quicgo.Transport
	ql    *quicgo.Listener
	addr  string
	guard *guard
	stop  func() // of the watch over the identity

	handler  chan struct{} // closed once serve is set
	serve    func(transport.Socket)
	setServe sync.Once

	done     chan struct{} // closed when closing begins
	finished chan struct{} // closed when Close is over
	closing  sync.Once

	mu    sync.Mutex
	conns map[*serverConn]struct{}
	all   sync.WaitGroup // of connections and the accept loop
}

// Listen opens a UDP socket on addr: "host:port", ":0" for any free port, or
// "host:min-max" for the first free port of a range.
func (t *quicTransport) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	var o transport.ListenOptions
	for _, opt := range opts {
		opt(&o)
	}
	set, err := t.current()
	if err != nil {
		return nil, err
	}
	l := &listener{
		t:        t,
		set:      set,
		guard:    newGuard(set),
		handler:  make(chan struct{}),
		done:     make(chan struct{}),
		finished: make(chan struct{}),
		conns:    map[*serverConn]struct{}{},
	}
	conf, err := set.creds.serverConfig(provedBy)
	if err != nil {
		return nil, err
	}
	if l.pc, err = listenUDP(addr, option[net.PacketConn](o.Context, listenOnKey{})); err != nil {
		return nil, err
	}
	l.addr = l.pc.LocalAddr().String()
	if set.offload {
		l.pc = udp.Wrap(l.pc)
	}
	reset, err := resetKey(set, l.addr)
	if err != nil {
		_ = l.pc.Close()
		return nil, fmt.Errorf("quic: stateless reset key: %w", err)
	}
	l.qt = &quicgo.Transport{
		Conn:                l.pc,
		VerifySourceAddress: l.guard.verifySource,
		ConnContext:         l.guard.admit,
		StatelessResetKey:   reset,
	}
	if l.ql, err = l.qt.Listen(conf, serverQUICConfig(set)); err != nil {
		_ = l.pc.Close()
		return nil, fmt.Errorf("quic: listening on %s: %w", addr, err)
	}
	l.stop = set.creds.onChange(l.recheck)
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.listeners[l] = struct{}{}
	}
	t.mu.Unlock()
	l.all.Go(l.accept)
	if closed {
		_ = l.Close()
		return nil, fmt.Errorf("quic: transport %w", ErrClosed)
	}
	return l, nil
}

// listenUDP opens the socket, unless the user brought one.
func listenUDP(addr string, given net.PacketConn) (net.PacketConn, error) {
	if given != nil {
		return given, nil
	}
	// go-micro's helper knows port ranges, but only for net.Listener.
	ln, err := mnet.Listen(addr, func(addr string) (net.Listener, error) {
		pc, err := udp.ListenPlain("udp", addr)
		return udpListener{pc}, err
	})
	if err != nil {
		return nil, fmt.Errorf("quic: listening on %s: %w", addr, err)
	}
	return ln.(udpListener).PacketConn, nil
}

// udpListener lets a UDP socket pass through an interface made for TCP.
type udpListener struct{ net.PacketConn }

func (udpListener) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (l udpListener) Addr() net.Addr          { return l.LocalAddr() }

// serverQUICConfig is for connections that we accept.
func serverQUICConfig(set *settings) *quicgo.Config {
	conf := quicConfig(set)
	conf.MaxIncomingStreams = int64(set.limits.Streams)
	conf.MaxIncomingUniStreams = -1
	// A stream counts against the limit until its handler has returned, so that
	// opening and resetting streams in a loop gains nothing.
	conf.RequireStreamCreditRelease = true
	return conf
}

// Addr returns the address in use, "host:port".
func (l *listener) Addr() string { return l.addr }

// Accept runs fn, in a goroutine of its own, for every socket that a client
// opens, and closes the socket when fn returns or panics. It returns nil after
// Close.
func (l *listener) Accept(fn func(transport.Socket)) error {
	l.setServe.Do(func() {
		l.serve = fn
		close(l.handler)
	})
	<-l.done
	return nil
}

// accept takes connections whose handshake is complete.
func (l *listener) accept() {
	for {
		q, err := l.ql.Accept(context.Background())
		if err != nil {
			select {
			case <-l.done:
			default:
				l.set.log.Logf(logWarn, "quic: listener %s stopped: %v", l.addr, err)
				go l.Close()
			}
			return
		}
		l.all.Go(func() { l.serveConn(q) })
	}
}

// serveConn decides about a connection and serves it until it ends.
func (l *listener) serveConn(q *quicgo.Conn) {
	shake := handshakeOf(q.Context())
	shake.complete()
	c := &serverConn{l: l, q: q, proved: shake.proved, sockets: map[*serverSocket]struct{}{}}
	if err := l.set.creds.authorized(c.proved.peer); err != nil {
		l.guard.log(l.guard.refusals, "quic: refusing %s: %v", q.RemoteAddr(), err)
		c.closeWith(codeUnauthorized)
		return
	}
	if !l.add(c) {
		c.closeWith(codeDone)
		return
	}
	defer l.removeConn(c)
	if c.proved.generation != l.set.creds.generation() {
		c.recheck() // trust changed since the handshake, before the connection was on the list
	}
	c.run()
}

func (l *listener) add(c *serverConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *listener) removeConn(c *serverConn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

func (l *listener) list() []*serverConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*serverConn, 0, len(l.conns))
	for c := range l.conns {
		list = append(list, c)
	}
	return list
}

// recheck judges all clients anew after a change of trust.
func (l *listener) recheck() {
	for _, c := range l.list() {
		c.recheck()
	}
}

// Close stops listening. Clients are told to make no more calls here; calls in
// flight get Timeouts.Drain to finish. When Close returns the port is free.
func (l *listener) Close() error {
	l.closing.Do(func() {
		defer close(l.finished)
		l.mu.Lock()
		close(l.done)
		l.mu.Unlock()
		l.stop()
		_ = l.ql.Close()
		drainUntil := time.Now().Add(l.set.timeouts.Drain)
		var wg sync.WaitGroup
		for _, c := range l.list() {
			wg.Go(func() { c.shutdown(drainUntil) })
		}
		wg.Wait()
		l.all.Wait()
		_ = l.qt.Close()
		_ = l.pc.Close()
		l.t.forget(l)
	})
	<-l.finished
	return nil
}
