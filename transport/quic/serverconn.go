package quic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/caller"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// serverConn is a connection that a client dialled.
type serverConn struct {
	l       *listener
	q       *quicgo.Conn
	proved  verified
	control *quicgo.SendStream // guarded by mu
	expiry  *time.Timer
	remote  string
	mark    string // the value of the header that tells a handler who calls

	draining atomic.Bool // somebody waits for the connection to become idle

	mu      sync.Mutex
	sockets map[*serverSocket]struct{}
	changed chan struct{} // closed and renewed when a socket becomes idle or ends
}

// run serves the connection until it ends. It does not wait for handlers, which
// are the user's code: their sockets have ended then.
func (c *serverConn) run() {
	c.remote = c.q.RemoteAddr().String()
	c.mark = seal(c.proved.peer, c.l.addr, c.remote)
	c.expiry = stoppedTimer(c.expire)
	c.expiry.Reset(time.Until(c.proved.notAfter))
	defer c.expiry.Stop()

	control, err := writeReady(c.q, c.l.set.limits.message())
	if err != nil {
		c.closeWith(codeProtocol)
		return
	}
	c.mu.Lock()
	c.control = control
	c.mu.Unlock()
	select {
	case <-c.l.handler:
	case <-c.q.Context().Done():
	case <-c.l.done:
	}
	for {
		qs, err := c.q.AcceptStream(context.Background())
		if err != nil {
			break
		}
		go c.handle(qs)
	}
}

// seal makes what tells a handler who calls. A peer of a federated trust domain is
// known by its full ID only, there as here.
func seal(p identity.Peer, local, remote string) string {
	if p.Home() {
		return caller.SealHome(p.Certificate.Raw, local, remote)
	}
	return caller.Seal(p.Certificate.Raw, local, remote)
}

// handle runs the listener's handler on one stream.
func (c *serverConn) handle(qs *quicgo.Stream) {
	defer qs.ReleaseStreamCredit()
	select {
	case <-c.l.handler:
	default:
		qs.CancelRead(codeDone) // closed before Accept
		qs.CancelWrite(codeDone)
		return
	}
	set := c.l.set
	s := &serverSocket{
		c:  c,
		ms: newMessageStream(qs, set, set.limits.message(), false),
	}
	c.add(s)
	defer c.remove(s)
	defer s.ms.close()
	if !s.ms.acceptType() {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			set.log.Logf(logError, "quic: panic in the handler of a socket: %v\n%s", r, debug.Stack())
		}
	}()
	c.l.serve(s)
}

func (c *serverConn) add(s *serverSocket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets[s] = struct{}{}
}

func (c *serverConn) remove(s *serverSocket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sockets, s)
	c.notify()
}

// notify wakes those who wait for the connection to become idle. The caller
// holds c.mu.
func (c *serverConn) notify() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// busy tells whether a call is in flight, and what to wait on if so.
func (c *serverConn) busy() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.sockets {
		if s.unanswered.Load() > 0 || s.streaming.Load() {
			if c.changed == nil {
				c.changed = make(chan struct{})
			}
			return true, c.changed
		}
	}
	return false, nil
}

// shutdown ends the connection: no new calls, until the given time for those in
// flight, then a moment for the client to receive the last answers.
func (c *serverConn) shutdown(until time.Time) {
	c.mu.Lock()
	control := c.control
	c.mu.Unlock()
	if control != nil {
		_ = writeGoAway(control)
	}
	c.draining.Store(true)
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for drained := false; !drained; {
		busy, changed := c.busy()
		if !busy {
			break
		}
		select {
		case <-changed:
		case <-c.q.Context().Done():
		case <-timer.C:
			drained = true
		}
		if c.q.Context().Err() != nil {
			break
		}
	}
	c.mu.Lock()
	for s := range c.sockets {
		s.ms.close()
	}
	c.mu.Unlock()
	timer.Reset(flushTime(c.q))
	select {
	case <-c.q.Context().Done():
	case <-timer.C:
	}
	c.closeWith(codeDone)
}

// expire ends the connection, unless what it rests on was renewed meanwhile.
func (c *serverConn) expire() {
	notAfter, err := c.l.set.creds.outlived(c.proved)
	if err != nil {
		c.closeWith(codeExpired)
		return
	}
	c.expiry.Reset(time.Until(notAfter))
}

// recheck ends the connection if its client is no longer trusted or authorized.
func (c *serverConn) recheck() {
	if _, err := c.l.set.creds.recheck(c.proved); err != nil {
		c.l.guard.log(c.l.guard.refusals, "quic: closing the connection from %s (%s): %v", c.q.RemoteAddr(), c.proved.peer.ID, err)
		c.closeWith(codeRevoked)
	}
}

func (c *serverConn) closeWith(code quicgo.ApplicationErrorCode) {
	_ = c.q.CloseWithError(code, "")
}

// serverSocket is what a handler gets: one stream that a client opened.
type serverSocket struct {
	c          *serverConn
	ms         *messageStream
	unanswered atomic.Int32
	streaming  atomic.Bool // a go-micro stream: in flight until it ends
}

// Local returns the listener's address.
func (s *serverSocket) Local() string { return s.c.l.addr }

// Remote returns the client's address.
func (s *serverSocket) Remote() string { return s.c.remote }

// Recv waits for the next message of the client. It returns io.EOF when the
// client is done, and io.ErrUnexpectedEOF if it stopped within a message.
func (s *serverSocket) Recv(m *transport.Message) error {
	if m == nil {
		return errors.New("quic: Recv into a nil message")
	}
	if err := s.ms.recv(m); err != nil {
		return s.explain(err)
	}
	m.Header[caller.Header] = s.c.mark
	s.unanswered.Add(1)
	if streaming := isStream(m.Header); streaming != s.streaming.Load() {
		s.streaming.Store(streaming)
	}
	return nil
}

// Send sends m to the client. The memory of m is the caller's again when Send
// returns.
func (s *serverSocket) Send(m *transport.Message) error {
	if m == nil {
		return errors.New("quic: nil message")
	}
	if _, err := s.ms.send(m); err != nil {
		return s.explain(err)
	}
	s.answered()
	return nil
}

// answered counts one message of the client less to be answered. The connection's
// lock, which all its sockets share, is taken only if somebody waits to know.
func (s *serverSocket) answered() {
	for {
		n := s.unanswered.Load()
		if n == 0 {
			return // a message that nobody asked for
		}
		if s.unanswered.CompareAndSwap(n, n-1) {
			break
		}
	}
	if s.c.draining.Load() {
		s.c.mu.Lock()
		s.c.notify()
		s.c.mu.Unlock()
	}
}

// Close ends the socket. What was sent still arrives.
func (s *serverSocket) Close() error {
	s.ms.close()
	return nil
}

// explain keeps io.EOF and io.ErrUnexpectedEOF as they are: go-micro's server
// logs everything but io.EOF as an error.
func (s *serverSocket) explain(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return err
	}
	cause := lossCause(s.c.q, err)
	switch {
	case cause == nil:
		return fmt.Errorf("quic: socket of %s (%s): %w", s.c.remote, s.c.proved.peer.ID, err)
	case closedCleanly(cause):
		return io.EOF
	}
	return explainLoss(s.c.remote, s.c.proved.peer.ID, cause)
}
