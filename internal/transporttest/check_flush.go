package transporttest

import (
	"fmt"

	"go-micro.dev/v4/transport"
)

func flushChecks() []check {
	return []check{
		{name: "flush/client sends and closes", run: clientFlush},
		{name: "flush/server sends and closes", run: serverFlush(true)},
		{name: "flush/server sends and returns", run: serverFlush(false)},
		{name: "flush/server sends and the listener closes", run: listenerFlush},
	}
}

// flushSize takes turns: one packet, several, and now and then more than a
// window.
func flushSize(i int) int {
	sizes := [...]int{10, 5000, 10, 5000, 10, 300_000, 10, 5000, 10, 5000, 10, 2 << 20}
	return sizes[i%len(sizes)]
}

// clientFlush: a stream's end is a last message and a Close.
func clientFlush(e *env) error {
	const rounds = 60
	got := make(chan *transport.Message, 1)
	failed := make(chan error, 1)
	s := e.serve(anyPort, func(s transport.Socket) {
		m := new(transport.Message)
		if err := s.Recv(m); err != nil {
			failed <- err
			return
		}
		got <- m
	})
	for i := range rounds {
		c := e.dial(s.Addr(), transport.WithStream())
		m := sized(flushSize(i), i)
		if err := e.send(c, m); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
		if err := e.within("Close", c.Close); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
		received := make(chan error, 1)
		go func() {
			select {
			case r := <-got:
				received <- same(r, m)
			case err := <-failed:
				received <- fmt.Errorf("the server's Recv: %w", err)
			}
		}()
		if err := e.wait("the server", received); err != nil {
			return fmt.Errorf("round %d, %d bytes: %w", i, len(m.Body), err)
		}
	}
	return nil
}

// serverFlush: the answer to the last request on a connection must not be lost
// with the connection.
func serverFlush(closes bool) func(*env) error {
	const rounds = 60
	return func(e *env) error {
		returned := make(chan error, rounds)
		var round int
		s := e.serve(anyPort, func(s transport.Socket) {
			var m transport.Message
			err := s.Recv(&m)
			if err == nil {
				err = s.Send(&m)
			}
			if closes {
				_ = s.Close()
			}
			returned <- err
		})
		for ; round < rounds; round++ {
			c := e.dial(s.Addr(), transport.WithStream())
			m := sized(flushSize(round), round)
			if err := e.echoed(c, m); err != nil {
				return fmt.Errorf("round %d, %d bytes: %w", round, len(m.Body), err)
			}
			if err := e.wait("the handler", returned); err != nil {
				return fmt.Errorf("round %d, the server: %w", round, err)
			}
			_ = e.within("Close", c.Close)
		}
		return nil
	}
}

// listenerFlush: a graceful stop ends with the answer to the last call.
func listenerFlush(e *env) error {
	for i := 5; i < 13; i++ { // the sizes above one packet are among these
		sent, closed := make(chan error, 1), make(chan struct{})
		s := e.serve(anyPort, func(s transport.Socket) {
			var m transport.Message
			err := s.Recv(&m)
			if err == nil {
				err = s.Send(&m)
			}
			sent <- err
			<-closed
		})
		c := e.dial(s.Addr(), transport.WithStream())
		m := sized(flushSize(i), i)
		answer := make(chan error, 1)
		go func() { answer <- e.echoed(c, m) }()
		err := e.wait("the server's Send", sent)
		if err == nil {
			// A listener may wait for its handlers, so these may not wait
			// for it.
			close(closed)
			_ = e.within("Close of the listener", s.Close)
			err = e.wait("the answer", answer)
		}
		if err != nil {
			return fmt.Errorf("round %d, %d bytes: %w", i, len(m.Body), err)
		}
	}
	return nil
}
