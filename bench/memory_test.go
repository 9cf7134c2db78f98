package bench

import (
	"errors"
	"io"
	"sync"
	"testing"

	"go-micro.dev/v4/transport"
)

// memory returns go-micro's memory transport, which is one object for both ends.
func memory(testing.TB) (server, client transport.Transport) {
	t := withFarewell{transport.NewMemoryTransport(), new(sync.Mutex)}
	return t, t
}

// farewell marks the message that ends a memory socket.
const farewell = "Bench-Farewell"

// withFarewell lets the server's side of a memory socket end.
//
// The memory transport's Close does not wake a Recv, so each closed socket would
// leave a server goroutine blocked for ever, and a benchmark that dials would
// measure the heap it filled. A last message tells the server's side to stop. Both
// sides then close at about the same time, which the memory transport takes for
// two closes of one channel: they take turns.
type withFarewell struct {
	transport.Transport
	closing *sync.Mutex
}

func (t withFarewell) Dial(addr string, opts ...transport.DialOption) (transport.Client, error) {
	c, err := t.Transport.Dial(addr, opts...)
	if err != nil {
		return nil, err
	}
	return farewellClient{c, t.closing}, nil
}

func (t withFarewell) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	l, err := t.Transport.Listen(addr, opts...)
	if err != nil {
		return nil, err
	}
	return farewellListener{l, t.closing}, nil
}

type farewellClient struct {
	transport.Client
	closing *sync.Mutex
}

func (c farewellClient) Close() error {
	err := c.Send(&transport.Message{Header: map[string]string{farewell: "1"}})
	if errors.Is(err, io.EOF) { // closed before, or the server has stopped
		err = nil
	}
	c.closing.Lock()
	defer c.closing.Unlock()
	return errors.Join(err, c.Client.Close())
}

type farewellListener struct {
	transport.Listener
	closing *sync.Mutex
}

func (l farewellListener) Accept(handle func(transport.Socket)) error {
	return l.Listener.Accept(func(sock transport.Socket) { handle(farewellSocket{sock, l.closing}) })
}

type farewellSocket struct {
	transport.Socket
	closing *sync.Mutex
}

func (s farewellSocket) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	return s.Socket.Close()
}

func (s farewellSocket) Recv(m *transport.Message) error {
	if err := s.Socket.Recv(m); err != nil {
		return err
	}
	if _, ok := m.Header[farewell]; ok {
		return io.EOF
	}
	return nil
}
