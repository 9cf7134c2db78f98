package transporttest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"go-micro.dev/v4/transport"
)

// pair is a connected socket with both of its ends in hand.
type pair struct {
	client transport.Client
	server transport.Socket
	// release lets the handler of the server's end return.
	release func()
	// returned is closed when it has.
	returned chan struct{}
	listener *serving
}

// arrival is the server's end of a pair.
type arrival struct {
	server   transport.Socket
	err      error
	release  func()
	returned chan struct{}
}

// arrive is a handler that takes the first message and then does nothing until
// it is released: what happens on its socket is up to the check.
func (e *env) arrive(s transport.Socket) {
	released := make(chan struct{})
	a := arrival{server: s, release: sync.OnceFunc(func() { close(released) }), returned: make(chan struct{})}
	defer close(a.returned)
	var m transport.Message
	a.err = s.Recv(&m)
	e.arrivals <- a
	<-released
}

// pair connects a client. The pairs of one check share a listener. The first
// message is sent here because transports may open a socket with it.
func (e *env) pair(opts ...transport.DialOption) *pair {
	e.Helper()
	if e.pairs == nil {
		e.arrivals = make(chan arrival, 1)
		e.pairs = e.serve(anyPort, e.arrive)
	}
	p := &pair{listener: e.pairs}
	p.client = e.dial(e.pairs.Addr(), append([]transport.DialOption{transport.WithStream()}, opts...)...)
	if err := e.send(p.client, message("hello")); err != nil {
		e.Fatalf("first Send: %v", err)
	}
	a, err := signal(e, "first Recv", e.arrivals)
	if err != nil {
		e.Fatal(err)
	}
	p.server, p.release, p.returned = a.server, a.release, a.returned
	e.Cleanup(p.release)
	if a.err != nil {
		e.Fatalf("first Recv: %v", a.err)
	}
	return p
}

// quit lets the handler return and waits until it has.
func (p *pair) quit(e *env) error {
	p.release()
	_, err := signal(e, "handler", p.returned)
	return err
}

// flood sends until Send fails, and counts what got through.
func flood(s transport.Socket, size int, count *atomic.Int64) error {
	m := sized(size, 0)
	for {
		if err := s.Send(m); err != nil {
			return err
		}
		count.Add(1)
	}
}

// stalled returns when a count stands still: it has not moved while a number of
// messages made the round trip on a socket of their own.
func (e *env) stalled(clock transport.Client, count *atomic.Int64) error {
	const rounds, limit = 50, 100_000
	last, still := count.Load(), 0
	for range limit {
		if err := e.echoed(clock, message("tick")); err != nil {
			return fmt.Errorf("a socket beside a stalled one: %w", err)
		}
		if now := count.Load(); now != last {
			last, still = now, 0
		} else if still++; still == rounds {
			return nil
		}
	}
	return fmt.Errorf("no end of sending without a reader: %d messages got through", last)
}
