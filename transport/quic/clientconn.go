package quic

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

const (
	// expiryMargin is how long before a connection's certificates expire new
	// calls stop using it. It is at most half of what was left at the handshake.
	expiryMargin = 30 * time.Second

	// deafAfter is how long a request must have gone unanswered, with not a
	// single packet from the peer, for the connection to be taken for dead.
	deafAfter = 400 * time.Millisecond
)

// clientConn is a connection that we dialled. Many sockets share it.
type clientConn struct {
	d          *dialer
	q          *quicgo.Conn
	addr       string // as dialled
	local      string
	generation uint64 // of our credentials
	proved     verified
	takes      messageLimits // what the server takes

	// draining: no new socket uses the connection. It closes once nothing pins
	// it.
	draining atomic.Bool
	// pins counts the sockets that wait for something on this connection, or
	// whose state at the server would be lost with it. It is unpinnable once the
	// connection is to be closed for want of them.
	pins     atomic.Int64
	lastUsed atomic.Int64 // Unix nanoseconds
	// flushed is until when what nobody waits to see answered may still be under
	// way; Unix nanoseconds.
	flushed atomic.Int64

	expiry, retire, idle, lingering *time.Timer
}

// stoppedTimer returns a timer that runs f when it is reset.
func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// prepare makes all that others may touch as soon as they know the connection.
func (c *clientConn) prepare() {
	c.expiry = stoppedTimer(c.expire)
	c.retire = stoppedTimer(c.drain)
	c.idle = stoppedTimer(c.reap)
	c.lingering = stoppedTimer(c.closeIfUnpinned)
}

// start watches the connection until it ends.
func (c *clientConn) start(control *controlReader) {
	left := time.Until(c.proved.notAfter)
	c.touch()
	c.expiry.Reset(left)
	c.retire.Reset(left - min(expiryMargin, left/2))
	c.idle.Reset(c.d.set.timeouts.Idle)
	context.AfterFunc(c.q.Context(), func() {
		for _, t := range []*time.Timer{c.expiry, c.retire, c.idle, c.lingering} {
			t.Stop()
		}
		c.d.remove(c)
	})
	go c.listen(control)
}

// expire ends the connection, unless what it rests on was renewed meanwhile.
func (c *clientConn) expire() {
	notAfter, err := c.d.set.creds.outlived(c.proved)
	if err != nil {
		c.closeWith(codeExpired, "")
		return
	}
	c.expiry.Reset(time.Until(notAfter))
}

// listen acts on what the server says on the control stream.
func (c *clientConn) listen(control *controlReader) {
	for {
		frame, _, err := control.next()
		switch {
		case err != nil && c.q.Context().Err() != nil:
			return
		case err != nil:
			c.closeWith(codeProtocol, "control stream")
			return
		case frame == frameReady:
			c.closeWith(codeProtocol, "second READY")
			return
		case frame == frameGoAway:
			c.drain()
		}
	}
}

func (c *clientConn) alive() bool { return c.q.Context().Err() == nil }

// usable reports whether new sockets may use the connection.
func (c *clientConn) usable() bool { return !c.draining.Load() && c.alive() }

// drain keeps new calls off the connection and closes it when the last one in
// flight is over.
func (c *clientConn) drain() {
	if c.draining.Swap(true) {
		return // a peer that says GOAWAY over and over puts nothing off
	}
	c.d.remove(c)
	if c.pins.Load() == 0 {
		c.linger()
	}
}

// unpinnable is in pins when a connection accepts no more of them.
const unpinnable = math.MinInt64

// pin keeps the connection from being closed for want of use. It reports false
// if that has happened.
func (c *clientConn) pin() bool {
	for {
		n := c.pins.Load()
		if n == unpinnable {
			return false
		}
		if c.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *clientConn) unpin() {
	c.touch()
	if c.pins.Add(-1) == 0 && c.draining.Load() {
		c.linger()
	}
}

// linger closes the connection, once what was sent last has had its time.
func (c *clientConn) linger() {
	c.lingering.Reset(time.Until(time.Unix(0, c.flushed.Load())))
}

// flush notes that something was sent to which no answer is awaited.
func (c *clientConn) flush() {
	c.flushed.Store(time.Now().Add(flushTime(c.q)).UnixNano())
}

func (c *clientConn) touch() { c.lastUsed.Store(time.Now().UnixNano()) }

func (c *clientConn) closeIfUnpinned() {
	if c.pins.CompareAndSwap(0, unpinnable) {
		c.closeWith(codeDone, "")
	}
}

// reap closes the connection if it has been idle for long enough: sockets that
// go-micro's pool keeps to a node that left must not keep it for ever.
func (c *clientConn) reap() {
	limit := c.d.set.timeouts.Idle
	idle := time.Since(time.Unix(0, c.lastUsed.Load()))
	if idle < limit || c.pins.Load() > 0 {
		c.idle.Reset(max(limit-idle, limit/2))
		return
	}
	c.drain()
}

// received counts the packets that came in so far.
func (c *clientConn) received() uint64 { return c.q.ConnectionStats().PacketsReceived }

// suspect is told that a request sent at that time, when the connection had
// received so many packets, was given up. A live peer would at least have
// acknowledged it; if nothing at all came, it is gone, and a later call must not
// wait for it again.
func (c *clientConn) suspect(sentAt time.Time, packets uint64) {
	if time.Since(sentAt) > max(deafAfter, 4*c.q.ConnectionStats().SmoothedRTT) && c.received() == packets {
		c.drain()
	}
}

// recheck closes the connection if its peer is no longer trusted, authorized or
// bound to the address. One that our earlier certificate made serves no new
// calls.
func (c *clientConn) recheck() {
	if c.generation != c.d.set.creds.generation() {
		c.drain()
	}
	if _, err := c.d.set.creds.recheck(c.proved); err != nil {
		c.d.set.log.Logf(logWarn, "quic: closing the connection to %s (%s): %v", c.addr, c.proved.peer.ID, err)
		c.closeWith(codeRevoked, "")
		return
	}
	if err := c.d.allowedAt(c.addr, c.proved.peer.ID); err != nil {
		c.d.set.log.Logf(logWarn, "%v", err)
		c.closeWith(codeUnauthorized, "")
	}
}

func (c *clientConn) closeWith(code quicgo.ApplicationErrorCode, why string) {
	c.draining.Store(true)
	_ = c.q.CloseWithError(code, why)
}

// explain says what became of a connection on which err happened.
func (c *clientConn) explain(err error) error {
	if cause := lossCause(c.q, err); cause != nil {
		return explainLoss(c.addr, c.proved.peer.ID, cause)
	}
	return fmt.Errorf("quic: %s (%s): %w", c.addr, c.proved.peer.ID, err)
}
