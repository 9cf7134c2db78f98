package main

import (
	"errors"
	"io"
	"net"
	"sync"
)

// packet is a datagram as an observer records it.
type packet struct {
	fromCaller bool
	data       []byte
}

// udpRelay stands between a caller and a service and writes down every datagram.
type udpRelay struct {
	front, back *net.UDPConn
	wg          sync.WaitGroup

	mu      sync.Mutex
	caller  *net.UDPAddr
	packets []packet
}

// newUDPRelay forwards what reaches its address to target.
func newUDPRelay(target string) (*udpRelay, error) {
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, err
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	back, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return nil, errors.Join(err, front.Close())
	}
	r := &udpRelay{front: front, back: back}
	r.wg.Go(r.forth)
	r.wg.Go(r.answers)
	return r, nil
}

func (r *udpRelay) address() string { return r.front.LocalAddr().String() }

func (r *udpRelay) forth() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.front.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		r.caller = from
		r.mu.Unlock()
		r.record(true, buf[:n])
		_, _ = r.back.Write(buf[:n]) // a datagram may get lost: QUIC sends it again
	}
}

func (r *udpRelay) answers() {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the service is gone: an ICMP message says so
		}
		r.record(false, buf[:n])
		r.mu.Lock()
		to := r.caller
		r.mu.Unlock()
		_, _ = r.front.WriteToUDP(buf[:n], to)
	}
}

func (r *udpRelay) record(fromCaller bool, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, packet{fromCaller, append([]byte(nil), data...)})
}

// recorded returns the datagrams so far.
func (r *udpRelay) recorded() []packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]packet(nil), r.packets...)
}

// Close stops the relay.
func (r *udpRelay) Close() error {
	err := errors.Join(r.front.Close(), r.back.Close())
	r.wg.Wait()
	return err
}

// tcpRelay is the same for a TCP connection.
type tcpRelay struct {
	l      net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	bytes []byte
}

func newTCPRelay(target string) (*tcpRelay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &tcpRelay{l: l, target: target}
	r.wg.Go(r.accept)
	return r, nil
}

func (r *tcpRelay) address() string { return r.l.Addr().String() }

func (r *tcpRelay) accept() {
	for {
		front, err := r.l.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = front.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, front, back)
		r.mu.Unlock()
		r.wg.Go(func() { r.copy(back, front) })
		r.wg.Go(func() { r.copy(front, back) })
	}
}

func (r *tcpRelay) copy(to, from net.Conn) {
	_, _ = io.Copy(to, io.TeeReader(from, r)) // ends when either side does
	_ = to.Close()
}

// Write records what passes.
func (r *tcpRelay) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes = append(r.bytes, b...)
	return len(b), nil
}

// recorded returns the bytes so far, of both directions.
func (r *tcpRelay) recorded() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.bytes...)
}

// Close stops the relay.
func (r *tcpRelay) Close() error {
	err := r.l.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close() // closed already, unless somebody keeps it open
	}
	r.mu.Unlock()
	r.wg.Wait()
	return err
}
