package quic_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// cutConn is a packet connection that can go deaf and dumb, as the socket of a
// process that crashed.
type cutConn struct {
	inner net.PacketConn
	off   atomic.Bool
	wake  chan struct{}
}

func newCutConn(t *testing.T) *cutConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutConn{inner: pc, wake: make(chan struct{})}
	t.Cleanup(func() { _ = pc.Close() })
	return c
}

// cut drops everything from now on.
func (c *cutConn) cut() { c.off.Store(true) }

// release frees the port.
func (c *cutConn) release() { _ = c.inner.Close() }

func (c *cutConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.inner.ReadFrom(p)
		if err != nil && c.off.Load() {
			<-c.wake // until Close or a deadline
			return 0, nil, net.ErrClosed
		}
		if err != nil || !c.off.Load() {
			return n, addr, err
		}
	}
}

func (c *cutConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if c.off.Load() {
		return len(p), nil
	}
	return c.inner.WriteTo(p, addr)
}

// SetReadBuffer and SetWriteBuffer are there for quic-go to call.
func (c *cutConn) SetReadBuffer(n int) error  { return c.inner.(*net.UDPConn).SetReadBuffer(n) }
func (c *cutConn) SetWriteBuffer(n int) error { return c.inner.(*net.UDPConn).SetWriteBuffer(n) }

func (c *cutConn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

func (c *cutConn) Close() error {
	c.unblock()
	return c.inner.Close()
}

func (c *cutConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *cutConn) SetWriteDeadline(t time.Time) error { return c.inner.SetWriteDeadline(t) }

func (c *cutConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		c.unblock()
	}
	return c.inner.SetReadDeadline(t)
}

func (c *cutConn) unblock() {
	select {
	case <-c.wake:
	default:
		close(c.wake)
	}
}
