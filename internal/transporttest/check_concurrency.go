package transporttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"go-micro.dev/v4/transport"
	"golang.org/x/sync/errgroup"
)

func concurrencyChecks() []check {
	return []check{
		{name: "concurrency/sends before receives", run: sendsFirst},
		{name: "concurrency/server sends at once", needs: AtomicSends, chance: true, run: serverSendsAtOnce},
		{name: "concurrency/client sends are atomic", needs: AtomicSends, chance: true, run: atomicSends(func(p *pair) (from, to transport.Socket) { return p.client, p.server })},
		{name: "concurrency/server sends are atomic", needs: AtomicSends, chance: true, run: atomicSends(func(p *pair) (from, to transport.Socket) { return p.server, p.client })},
		{name: "concurrency/both ways at once", run: bothWays},
	}
}

// sendsFirst: several messages are sent before one is received, beside a
// receiver that already waits; after Close the receiver ends.
func sendsFirst(e *env) error {
	const n = 3
	p := e.pair()
	got := make(chan error, n+1)
	entered := make(chan struct{})
	go func() {
		close(entered)
		for i := range n {
			got <- e.expect(p.client, message(fmt.Sprint("reply ", i)))
		}
	}()
	<-entered
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := range n {
			err = errors.Join(err, p.client.Send(message(fmt.Sprint("request ", i))))
		}
		sent <- err
	}()
	for i := range n {
		if err := e.expect(p.server, message(fmt.Sprint("request ", i))); err != nil {
			return err
		}
	}
	if err := e.wait("Send", sent); err != nil {
		return err
	}
	for i := range n {
		if err := e.send(p.server, message(fmt.Sprint("reply ", i))); err != nil {
			return err
		}
	}
	for range n {
		if err := e.wait("Recv", got); err != nil {
			return err
		}
	}
	_ = e.within("Close", p.client.Close)
	if _, err := e.recv(p.client); err != io.EOF {
		return fmt.Errorf("Recv after Close returned %v, want io.EOF", err)
	}
	return nil
}

// serverSendsAtOnce: the server answers each of several requests from a
// goroutine of its own, all of them at the same time.
func serverSendsAtOnce(e *env) error {
	const n = 8
	ready := make(chan struct{})
	var answers sync.WaitGroup
	s := e.serve(anyPort, func(s transport.Socket) {
		for i := range n {
			var m transport.Message
			if err := s.Recv(&m); err != nil {
				return
			}
			answers.Go(func() {
				<-ready
				_ = s.Send(&m)
			})
			if i == n-1 {
				close(ready)
			}
		}
		answers.Wait()
	})
	c := e.dial(s.Addr(), transport.WithStream())
	missing := make(map[string]bool)
	for i := range n {
		text := fmt.Sprint("request ", i)
		missing[text] = true
		if err := e.send(c, message(text)); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
	}
	for range n {
		m, err := e.recv(c)
		if err != nil {
			return fmt.Errorf("Recv: %w", err)
		}
		if !missing[string(m.Body)] {
			return fmt.Errorf("unexpected answer %.40q", m.Body)
		}
		delete(missing, string(m.Body))
	}
	return nil
}

// atomicSends: many goroutines send on one socket, messages from nothing to
// far more than any buffer. Each arrives whole, each sender's in order.
func atomicSends(ends func(*pair) (from, to transport.Socket)) func(*env) error {
	const senders, each = 8, 24
	return func(e *env) error {
		p := e.pair()
		from, to := ends(p)
		var group errgroup.Group
		for id := range senders {
			group.Go(func() error {
				for n := range each {
					if err := from.Send(sealed(id, n)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		var next [senders]int
		for range senders * each {
			m, err := e.recv(to)
			if err != nil {
				return fmt.Errorf("Recv: %w", err)
			}
			id, n, err := unseal(m)
			if err != nil {
				return err
			}
			if id >= senders || n != next[id] {
				return fmt.Errorf("message %d of sender %d is out of order", n, id)
			}
			next[id]++
		}
		return e.within("Send", group.Wait)
	}
}

// sealed makes message n of a sender, with a body of some length that depends
// on both, and a checksum over number and body.
func sealed(id, n int) *transport.Message {
	lengths := [...]int{0, 1, 100, 1200, 5000, 40_000, 70_000, 300_000}
	m := sized(lengths[(id+n)%len(lengths)], id*n)
	m.Body = binary.BigEndian.AppendUint32(m.Body, uint32(id))
	m.Body = binary.BigEndian.AppendUint32(m.Body, uint32(n))
	m.Body = binary.BigEndian.AppendUint32(m.Body, crc32.ChecksumIEEE(m.Body))
	m.Header["X-Sender"] = fmt.Sprint(id, " ", n)
	return m
}

func unseal(m *transport.Message) (id, n int, err error) {
	end := len(m.Body) - 12
	if end < 0 || crc32.ChecksumIEEE(m.Body[:end+8]) != binary.BigEndian.Uint32(m.Body[end+8:]) {
		return 0, 0, fmt.Errorf("a message of %d bytes did not arrive whole", len(m.Body))
	}
	id = int(binary.BigEndian.Uint32(m.Body[end:]))
	n = int(binary.BigEndian.Uint32(m.Body[end+4:]))
	if got, want := m.Header["X-Sender"], fmt.Sprint(id, " ", n); got != want {
		return 0, 0, fmt.Errorf("a body came with the headers of another message: %q, want %q", got, want)
	}
	return id, n, nil
}

// bothWays: neither direction waits for the other.
func bothWays(e *env) error {
	const n = 100
	p := e.pair()
	var group errgroup.Group
	for _, end := range []transport.Socket{p.client, p.server} {
		group.Go(func() error {
			for i := range n {
				if err := end.Send(sized(1000*(i%20), i)); err != nil {
					return err
				}
			}
			return nil
		})
		group.Go(func() error {
			for i := range n {
				if err := e.expect(end, sized(1000*(i%20), i)); err != nil {
					return fmt.Errorf("message %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return e.within("traffic", group.Wait)
}
