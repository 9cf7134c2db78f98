package quic

import (
	"context"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// Flow-control windows: how much a peer may send that nobody has read yet. With
// quic-go's defaults two streams that nobody reads block all others of their
// connection; here sixteen do not.
const (
	streamWindow    = 512 << 10
	maxStreamWindow = 4 << 20
	connWindow      = 8 << 20
	maxConnWindow   = 32 << 20

	idleTimeout = 30 * time.Second

	// keepAlive is the pace at which a client keeps a connection, and the state
	// of NATs and firewalls on the way, alive. Idle connections are closed by
	// clientConn.reap.
	keepAlive = 10 * time.Second
)

// quicConfig is what both sides have in common.
func quicConfig(set *settings) *quicgo.Config {
	return &quicgo.Config{
		HandshakeIdleTimeout:           set.timeouts.Handshake,
		MaxIdleTimeout:                 idleTimeout,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		AllowConnectionWindowIncrease:  set.budget.allow,
		Allow0RTT:                      false,
	}
}

// windowBudget bounds the memory that all connections of a transport may be
// granted above their initial windows.
type windowBudget struct {
	mu      sync.Mutex
	left    int64
	granted map[*quicgo.Conn]int64
}

func newWindowBudget(total int64) *windowBudget {
	return &windowBudget{left: total, granted: map[*quicgo.Conn]int64{}}
}

// allow is quic-go's AllowConnectionWindowIncrease. It must not call into the
// connection's streams.
func (b *windowBudget) allow(conn *quicgo.Conn, delta uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if delta > uint64(b.left) {
		return false
	}
	b.left -= int64(delta)
	if _, known := b.granted[conn]; !known {
		context.AfterFunc(conn.Context(), func() { b.release(conn) })
	}
	b.granted[conn] += int64(delta)
	return true
}

func (b *windowBudget) release(conn *quicgo.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += b.granted[conn]
	delete(b.granted, conn)
}

// flushTime is how long a peer is given to acknowledge what was sent last, one
// loss included: QUIC does not tell the sender when that has happened.
func flushTime(q *quicgo.Conn) time.Duration {
	const least, most = 75 * time.Millisecond, time.Second
	return min(least+6*q.ConnectionStats().SmoothedRTT, most)
}
