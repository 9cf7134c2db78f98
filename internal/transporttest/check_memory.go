package transporttest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"go-micro.dev/v4/transport"
)

// memoryChecks are about who owns the memory of a message.
func memoryChecks() []check {
	return []check{
		{name: "memory/received messages are the receiver's", run: receivedIsOurs},
		{name: "memory/receive into a used message", needs: FreshMessages, run: recvAgain},
		{name: "memory/sent messages stay the sender's", run: sentIsTheirs},
		{name: "memory/nothing is kept after Send", run: nothingKept},
	}
}

// receivedIsOurs: whatever a receiver does to a message, up to the capacity of
// its body, no other message is touched.
func receivedIsOurs(e *env) error {
	p := e.pair()
	for _, size := range []int{16, 3000, 100_000} {
		for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
			var kept []*transport.Message
			want := sized(size, size)
			for range 3 {
				asyncSend(way.from, want)
				scribbled, err := e.recv(way.to)
				if err != nil {
					return fmt.Errorf("Recv: %w", err)
				}
				scribble(scribbled)
				asyncSend(way.from, want)
				m, err := e.recv(way.to)
				if err != nil {
					return fmt.Errorf("Recv: %w", err)
				}
				scribble(scribbled)
				kept = append(kept, m)
			}
			for _, m := range kept {
				if err := same(m, want); err != nil {
					return fmt.Errorf("after writing to another message: %w", err)
				}
			}
		}
	}
	return nil
}

// scribble overwrites all that a message gives access to.
func scribble(m *transport.Message) {
	for k := range m.Header {
		m.Header[k] = "scribbled"
	}
	m.Header["X-Scribbled"] = "new"
	body := m.Body[:cap(m.Body)]
	for i := range body {
		body[i] = 0xAA
	}
}

// recvAgain: one Message variable in a loop.
func recvAgain(e *env) error {
	p := e.pair()
	first, last := sized(64, 1), sized(32, 2)
	first.Header["X-First"] = "1"
	for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
		var m transport.Message
		next := func(s *transport.Message) error {
			asyncSend(way.from, s)
			return e.within("Recv", func() error { return way.to.Recv(&m) })
		}
		if err := next(first); err != nil {
			return err
		}
		kept := m
		if err := next(last); err != nil {
			return err
		}
		if err := errors.Join(same(&m, last), same(&kept, first)); err != nil {
			return fmt.Errorf("two messages through one variable: %w", err)
		}
		if _, ok := m.Header["X-First"]; ok {
			return errors.New("the second message has a header of the first")
		}
		if err := next(&transport.Message{}); err != nil {
			return err
		}
		if len(m.Body) != 0 {
			return fmt.Errorf("an empty message arrived with a body of %d bytes", len(m.Body))
		}
	}
	return nil
}

// sentIsTheirs: Send reads the message and changes nothing in it, whatever
// the transport adds on the wire.
func sentIsTheirs(e *env) error {
	p := e.pair(transport.WithConnClose())
	for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
		m := sized(1000, 0)
		header, body := maps.Clone(m.Header), slices.Clone(m.Body)
		if err := e.pass(way.from, way.to, m); err != nil {
			return err
		}
		if !maps.Equal(header, m.Header) || !slices.Equal(body, m.Body) {
			return fmt.Errorf("Send changed the message: headers are now %q", m.Header)
		}
	}
	return nil
}

// nothingKept: go-micro's codecs write the next message into the buffer of the
// last as soon as Send has returned.
func nothingKept(e *env) error {
	const n = 30
	p := e.pair()
	for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
		for _, size := range []int{16, 3000, 200_000} {
			sent := make(chan error, 1)
			go func() {
				m := &transport.Message{Header: make(map[string]string), Body: make([]byte, size)}
				for i := range n {
					want := sized(size, i)
					copy(m.Body, want.Body)
					maps.Copy(m.Header, want.Header)
					m.Header["X-Number"] = fmt.Sprint(i)
					if err := way.from.Send(m); err != nil {
						sent <- err
						return
					}
					scribble(m)
				}
				sent <- nil
			}()
			for i := range n {
				want := sized(size, i)
				want.Header["X-Number"] = fmt.Sprint(i)
				if err := e.expect(way.to, want); err != nil {
					return fmt.Errorf("message %d of %d bytes: %w", i, size, err)
				}
			}
			if err := e.wait("Send", sent); err != nil {
				return err
			}
		}
	}
	return nil
}
