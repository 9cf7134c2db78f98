// Package proxy forwards TCP connections in tests, and refuses, swallows, cuts or shows
// them to the test when it is told to.
package proxy

import (
	"net"
	"sync"
	"testing"
)

type mode int

const (
	pass mode = iota
	refuse
	blackhole
	holdAnswers
)

// Proxy forwards TCP connections to a server, as long as it is told to.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the mode changes
	mode    mode
	target  string
	conns   map[net.Conn]struct{}
	tap     func(fromClient bool, data []byte)
	closed  bool
}

// New listens on a free port of the loopback interface and forwards to target,
// which SetTarget can change. It ends with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}, changed: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget makes new connections go to another address.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Pass forwards again, which is what a new proxy does. Connections that a blackhole
// held go on where they stopped.
func (p *Proxy) Pass() { p.set(pass) }

// Refuse cuts all connections and closes new ones at once, like a host whose server
// is down.
func (p *Proxy) Refuse() {
	p.set(refuse)
	p.Cut()
}

// Blackhole keeps connections open and accepts new ones, and lets not one byte
// pass, like a network that loses every packet.
func (p *Proxy) Blackhole() { p.set(blackhole) }

// HoldAnswers forwards what clients send, and lets nothing pass that comes back.
func (p *Proxy) HoldAnswers() { p.set(holdAnswers) }

// Cut closes the connections there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Tap calls f with all bytes that pass from now on, before they are forwarded. f must
// not keep data, and runs in one goroutine for each way of each connection.
func (p *Proxy) Tap(f func(fromClient bool, data []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tap = f
}

func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Refuse()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

// serve holds a new connection back while nothing may pass, then joins it to the
// target.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.track(client) {
		return
	}
	defer p.forget(client)
	if !p.wait(true) {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.track(server) {
		return
	}
	defer p.forget(server)

	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, true) })
	p.copy(client, server, false)
	both.Wait()
}

// copy moves bytes one way, and ends both ways when it ends.
func (p *Proxy) copy(to, from net.Conn, fromClient bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.wait(fromClient) {
				return
			}
			p.mu.Lock()
			tap := p.tap
			p.mu.Unlock()
			if tap != nil {
				tap(fromClient, buf[:n])
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns once bytes may pass, and false if they never will.
func (p *Proxy) wait(fromClient bool) bool {
	for {
		p.mu.Lock()
		m, changed := p.mode, p.changed
		p.mu.Unlock()
		switch {
		case m == pass, m == holdAnswers && fromClient:
			return true
		case m == refuse:
			return false
		}
		<-changed
	}
}

func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == refuse {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
