package quic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	quicgo "github.com/quic-go/quic-go"
)

// stagger is how long one address of a host name is tried alone before the next
// one is tried as well (in the spirit of RFC 8305).
const stagger = 100 * time.Millisecond

// maxAddrs bounds how many addresses of a host name are tried.
const maxAddrs = 8

// dial connects to addr, which may be a host name with several addresses: the
// first that works wins.
func (d *dialer) dial(ctx context.Context, addr string) (*clientConn, error) {
	targets, err := resolveUDP(ctx, addr)
	if err != nil {
		return nil, err
	}
	if len(targets) == 1 {
		return d.connect(ctx, addr, targets[0])
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		c   *clientConn
		err error
	}
	results := make(chan result)
	started, pending := 0, 0
	start := func() {
		target := targets[started]
		started++
		pending++
		go func() {
			c, err := d.connect(ctx, addr, target)
			results <- result{c, err}
		}()
	}
	start()
	next := time.NewTicker(stagger)
	defer next.Stop()
	var firstErr error
	for {
		select {
		case <-next.C:
			if started < len(targets) {
				start()
			}
		case r := <-results:
			pending--
			if r.err == nil {
				cancel()
				go func() { // those that lost the race
					for ; pending > 0; pending-- {
						if r := <-results; r.err == nil {
							r.c.closeWith(codeDone, "")
						}
					}
				}()
				return r.c, nil
			}
			if firstErr == nil {
				firstErr = r.err
			}
			if started < len(targets) {
				start()
			} else if pending == 0 {
				return nil, firstErr
			}
		}
	}
}

// resolveUDP looks up the addresses of host:port.
func resolveUDP(ctx context.Context, addr string) ([]*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("quic: address %q: want host:port, or [host]:port for IPv6: %w", addr, err)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("quic: address %q: want a port from 1 to 65535", addr)
	}
	if host == "" {
		host = "::"
	}
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, fmt.Errorf("quic: looking up %q: %w", host, err)
	} else if len(ips) == 0 {
		return nil, fmt.Errorf("quic: looking up %q: it has no address", host)
	}
	if ips[0].IsUnspecified() {
		// A listener's own ":0" comes back as "[::]:port": this host is meant.
		ips = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	}
	var targets []*net.UDPAddr
	for _, ip := range ips[:min(len(ips), maxAddrs)] {
		targets = append(targets, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port))))
	}
	return targets, nil
}

// connect makes one connection and waits until the server has accepted us: in
// TLS 1.3 a client's handshake is complete before the server has judged its
// certificate.
func (d *dialer) connect(ctx context.Context, addr string, target *net.UDPAddr) (*clientConn, error) {
	c := &clientConn{d: d, addr: addr, generation: d.set.creds.generation()}
	conf, err := d.set.creds.clientConfig(&c.proved)
	if err != nil {
		return nil, err
	}
	c.q, err = d.qt.Dial(ctx, target, conf, d.conf)
	if err != nil {
		return nil, explainDial(addr, err)
	}
	if err := d.set.creds.authorized(c.proved.peer); err != nil {
		c.closeWith(codeUnauthorized, "")
		return nil, err
	}
	if err := d.allowedAt(addr, c.proved.peer.ID); err != nil {
		c.closeWith(codeUnauthorized, "")
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, d.set.timeouts.Handshake)
	defer cancel()
	control, takes, err := acceptControl(ready, c.q)
	if err != nil {
		if ctx.Err() == nil && c.alive() && (ready.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			c.closeWith(codeProtocol, "")
			return nil, fmt.Errorf("quic: %w: %s (%s) did not say within %v that it accepts us: it is overloaded, or not this transport", ErrUnreachable, addr, c.proved.peer.ID, d.set.timeouts.Handshake)
		}
		if cause := context.Cause(c.q.Context()); cause != nil {
			err = cause
		}
		c.closeWith(codeProtocol, "")
		return nil, explainDial(addr, err)
	}
	c.takes = takes
	c.local = c.q.LocalAddr().String()
	c.prepare()
	d.mu.Lock()
	d.live[c] = struct{}{}
	d.mu.Unlock()
	c.start(control)
	if c.generation != d.set.creds.generation() {
		c.recheck() // trust changed while we were at it
	}
	return c, nil
}

// clientQUICConfig is for connections that we dial.
func clientQUICConfig(set *settings) *quicgo.Config {
	conf := quicConfig(set)
	conf.MaxIncomingStreams = -1   // calls go one way
	conf.MaxIncomingUniStreams = 1 // the control stream
	conf.KeepAlivePeriod = keepAlive
	return conf
}
