package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
	"go-micro.dev/v4/transport/headers"
)

// clientSocket is what Dial returns: one stream on a connection that many
// sockets share. The stream is opened when first used.
//
// A socket that waits for nothing and has only carried calls that were answered
// holds no state at the server. If its connection goes away, as those of
// go-micro's pool do when a server restarts, it moves to a new one at the next
// Send, before anything is written.
type clientSocket struct {
	t         *quicTransport
	addr      string
	timeout   time.Duration // of dialling; 0 for none
	connClose bool
	ctx       context.Context
	cancel    context.CancelFunc
	closed    atomic.Bool

	mu       sync.Mutex
	d        *dialer
	conn     *clientConn
	ms       *messageStream // nil until used
	stateful bool           // the server keeps state about this stream
	unanswered,
	receiving int
	pinned bool
	// of the last request, for clientConn.suspect
	sentAt   time.Time
	received uint64
}

// Dial connects to addr ("host:port"; host names and "[v6]:port" work). Every
// Dial returns a socket of its own; the connection behind it is shared, so only
// the first one to an address costs a handshake.
//
// Without transport.WithTimeout a dial takes 5 s at most; with a timeout of 0
// there is no limit but the one of a peer that stays silent, Timeouts.Handshake.
func (t *quicTransport) Dial(addr string, opts ...transport.DialOption) (transport.Client, error) {
	o := transport.DialOptions{Timeout: transport.DefaultDialTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	if o.InsecureSkipVerify {
		return nil, fmt.Errorf("quic: %w: WithInsecureSkipVerify: this transport always verifies; remove the option", ErrInsecure)
	}
	s := &clientSocket{t: t, addr: addr, timeout: o.Timeout, connClose: o.ConnClose}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	ctx, cancel := s.dialContext()
	defer cancel()
	err := t.withDialer(func(d *dialer) (err error) {
		s.d = d
		s.conn, err = d.acquire(ctx, addr)
		return err
	})
	if err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

func (s *clientSocket) dialContext() (context.Context, context.CancelFunc) {
	if s.timeout <= 0 {
		return context.WithCancel(s.ctx)
	}
	return context.WithTimeout(s.ctx, s.timeout)
}

// Local returns the address that the socket sends from.
func (s *clientSocket) Local() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.local
}

// Remote returns the address as it was dialled. go-micro's pool files a socket
// under it.
func (s *clientSocket) Remote() string { return s.addr }

// Send sends m. A message that names a service (Micro-Service) is sent only to
// a peer that may be that service. The memory of m is the caller's again when
// Send returns.
func (s *clientSocket) Send(m *transport.Message) error {
	if m == nil {
		return errors.New("quic: nil message")
	}
	if s.connClose {
		h := maps.Clone(m.Header)
		if h == nil {
			h = map[string]string{}
		}
		h["Connection"] = "close"
		m = &transport.Message{Header: h, Body: m.Body}
	}
	for retried := false; ; retried = true {
		ms, conn, err := s.begin(m)
		if err != nil {
			return err
		}
		wrote, err := ms.send(m)
		if err == nil {
			return nil
		}
		fresh := s.undo(ms, wrote)
		if wrote || retried || !fresh || errors.Is(err, ErrTooLarge) {
			return conn.explain(err)
		}
	}
}

// begin prepares the sending of m and counts it.
func (s *clientSocket) begin(m *transport.Message) (*messageStream, *clientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.attach(); err != nil {
		return nil, nil, err
	}
	service := calledService(m.Header)
	if service != "" && !s.d.set.mayServe(s.conn.proved.peer, service) {
		s.settle()
		return nil, nil, fmt.Errorf("quic: %w: called %q, but %s answers at %s: nothing was sent; if it carries calls for others, allow it with quic.Via", ErrWrongService, service, s.conn.proved.peer.ID, s.addr)
	}
	s.unanswered++
	if service == "" || isStream(m.Header) {
		s.stateful = true
	}
	s.sentAt, s.received = time.Now(), s.conn.received()
	return s.ms, s.conn, nil
}

// undo takes back the counting of a message that ms did not send. It reports
// whether the socket may be tried on another stream: nothing of its state is at
// the server.
func (s *clientSocket) undo(ms *messageStream, wrote bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wrote || s.ms != ms {
		return false
	}
	s.unanswered--
	fresh := s.unanswered == 0 && s.receiving == 0 && !s.stateful
	s.settle()
	if fresh {
		s.detach()
	}
	return fresh
}

// Recv waits for the next message. It returns io.EOF when the server is done
// with the socket, and after Close.
func (s *clientSocket) Recv(m *transport.Message) error {
	if m == nil {
		return errors.New("quic: Recv into a nil message")
	}
	ms, conn, err := s.beginRecv()
	if err != nil {
		return err
	}
	err = ms.recv(m)
	s.endRecv(ms, err == nil)
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return err
	}
	return conn.explain(err)
}

func (s *clientSocket) beginRecv() (*messageStream, *clientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ms == nil {
		if err := s.attach(); err != nil {
			if s.closed.Load() {
				return nil, nil, io.EOF
			}
			return nil, nil, err
		}
		// The server is to speak first: it must learn of the stream.
		s.stateful = true
		if err := s.ms.open(); err != nil {
			return nil, nil, s.conn.explain(err)
		}
	}
	s.receiving++
	if !s.pinned {
		s.pinned = s.conn.pin() // if it is being closed, recv will say so
	}
	return s.ms, s.conn, nil
}

func (s *clientSocket) endRecv(ms *messageStream, got bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ms != ms {
		return
	}
	s.receiving--
	if got && s.unanswered > 0 {
		s.unanswered--
	}
	s.settle()
}

// attach makes sure that the socket has a stream, on a connection that it pins:
// the stream it has if that is still good or holds state, otherwise a new one.
func (s *clientSocket) attach() error {
	if s.closed.Load() {
		return fmt.Errorf("quic: socket %w", ErrClosed) // it may be pinned still, and without a stream
	}
	for !s.pinned {
		if s.ms != nil && !s.conn.usable() {
			s.detach()
		}
		if s.ms == nil {
			if err := s.open(); err != nil {
				if s.closed.Load() {
					err = fmt.Errorf("quic: socket %w", ErrClosed)
				}
				return err
			}
		}
		if s.pinned = s.conn.pin(); !s.pinned {
			s.detach()
		}
	}
	return nil
}

// open gives the socket a new stream.
func (s *clientSocket) open() error {
	ctx, cancel := s.dialContext()
	defer cancel()
	return s.t.withDialer(func(d *dialer) (err error) {
		var qs *quicgo.Stream
		conn := s.conn
		if d == s.d && conn.usable() {
			qs, err = conn.q.OpenStream()
		}
		if qs == nil || err != nil {
			if conn, qs, err = d.openStream(ctx, s.addr); err != nil {
				return err
			}
		}
		s.d, s.conn = d, conn
		s.ms = newMessageStream(qs, d.set, conn.takes, true)
		return nil
	})
}

// detach gives up the stream. The caller knows that it holds no state.
func (s *clientSocket) detach() {
	s.ms.close()
	s.ms = nil
}

// settle lets go of the connection if nothing of the socket hangs on it.
func (s *clientSocket) settle() {
	if s.closed.Load() {
		return // Close has the last word
	}
	if s.pinned && !s.stateful && s.unanswered == 0 && s.receiving == 0 {
		s.pinned = false
		s.conn.unpin()
	}
}

// Close ends the socket. What was sent still arrives. It is idempotent, never
// blocks for long, and returns nil even if the peer is gone.
func (s *clientSocket) Close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return nil
	}
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ms != nil {
		s.ms.close()
		if s.unanswered > 0 {
			s.conn.flush()
			s.conn.suspect(s.sentAt, s.received)
		}
	}
	if s.pinned {
		s.pinned = false
		s.conn.unpin()
	}
	return nil
}

// calledService is the service that a message calls, as go-micro's server reads
// it.
func calledService(h map[string]string) string {
	if s := h[headers.Request]; s != "" {
		return s
	}
	return h["X-"+headers.Request]
}

// isStream tells messages of a go-micro stream from those of single calls, as
// go-micro's server does.
func isStream(h map[string]string) bool {
	return h[headers.Stream] != "" || h["X-"+headers.Stream] != ""
}
