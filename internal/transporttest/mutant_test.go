package transporttest

import (
	"errors"
	"slices"
	"sync"

	"go-micro.dev/v4/transport"
)

// mutant is a transport with a defect.
type mutant struct {
	transport.Transport
	// name is what String returns.
	name string
	// socket replaces each socket, on either side. It is given the dialled
	// address on the client's.
	socket func(s transport.Socket, dialled string) transport.Socket
	// handler replaces each handler.
	handler func(func(transport.Socket)) func(transport.Socket)
}

func (m *mutant) String() string { return m.name }

func (m *mutant) Dial(addr string, opts ...transport.DialOption) (transport.Client, error) {
	c, err := m.Transport.Dial(addr, opts...)
	if err != nil || m.socket == nil {
		return c, err
	}
	return m.socket(c, addr), nil
}

func (m *mutant) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	l, err := m.Transport.Listen(addr, opts...)
	if err != nil {
		return nil, err
	}
	return &mutantListener{l, m}, nil
}

type mutantListener struct {
	transport.Listener
	m *mutant
}

func (l *mutantListener) Accept(handle func(transport.Socket)) error {
	if l.m.handler != nil {
		handle = l.m.handler(handle)
	}
	return l.Listener.Accept(func(s transport.Socket) {
		if l.m.socket != nil {
			s = l.m.socket(s, "")
		}
		handle(s)
	})
}

// late sends each message, from the second on, when the next is sent: it
// keeps the caller's memory until then, and forgets the last message.
type late struct {
	transport.Socket
	sent int
	held *transport.Message
}

func (l *late) Send(m *transport.Message) error {
	l.sent++
	if l.sent == 1 {
		return l.Socket.Send(m)
	}
	held := l.held
	l.held = m
	if held == nil {
		return nil
	}
	return l.Socket.Send(held)
}

// forgetful loses what was sent last when it is closed.
type forgetful struct {
	transport.Socket
	held *transport.Message
}

func (f *forgetful) Send(m *transport.Message) error {
	f.held = &transport.Message{Header: m.Header, Body: slices.Clone(m.Body)}
	return nil
}

// swapped exchanges the second message with the third.
type swapped struct {
	transport.Socket
	sent int
	held *transport.Message
}

func (s *swapped) Send(m *transport.Message) error {
	s.sent++
	switch s.sent {
	case 2:
		s.held = m
		return nil
	case 3:
		if err := s.Socket.Send(m); err != nil {
			return err
		}
		m = s.held
	}
	return s.Socket.Send(m)
}

// shared hands out one piece of memory with every message.
type shared struct {
	transport.Socket
	body []byte
}

func (s *shared) Recv(m *transport.Message) error {
	if err := s.Socket.Recv(m); err != nil {
		return err
	}
	s.body = append(s.body[:0], m.Body...)
	m.Body = s.body
	return nil
}

// marking writes to the message that it sends.
type marking struct{ transport.Socket }

func (m *marking) Send(msg *transport.Message) error {
	msg.Header["X-Marked"] = "by the transport"
	return m.Socket.Send(msg)
}

// cutting sends no more than so much of a body.
type cutting struct {
	transport.Socket
	most int
}

func (c *cutting) Send(m *transport.Message) error {
	return c.Socket.Send(&transport.Message{Header: m.Header, Body: m.Body[:min(len(m.Body), c.most)]})
}

// skipping sends nothing where there is no body.
type skipping struct{ transport.Socket }

func (s *skipping) Send(m *transport.Message) error {
	if len(m.Body) == 0 {
		return nil
	}
	return s.Socket.Send(m)
}

// asking wants a Send before a Recv.
type asking struct {
	transport.Socket
	mu   sync.Mutex
	sent bool
}

func (a *asking) Send(m *transport.Message) error {
	a.mu.Lock()
	a.sent = true
	a.mu.Unlock()
	return a.Socket.Send(m)
}

func (a *asking) Recv(m *transport.Message) error {
	a.mu.Lock()
	sent := a.sent
	a.mu.Unlock()
	if !sent {
		return errors.New("nothing was asked")
	}
	return a.Socket.Recv(m)
}

// renamed has another address than the dialled one.
type renamed struct{ transport.Socket }

func (*renamed) Remote() string { return "127.0.0.1:1" }

// complaining cannot be closed without an error.
type complaining struct{ transport.Socket }

func (c *complaining) Close() error {
	return errors.Join(c.Socket.Close(), errors.New("the peer is gone"))
}

// queueing lets one socket of all send at a time.
type queueing struct {
	transport.Socket
	turn *sync.Mutex
}

func (q *queueing) Send(m *transport.Message) error {
	q.turn.Lock()
	defer q.turn.Unlock()
	return q.Socket.Send(m)
}
