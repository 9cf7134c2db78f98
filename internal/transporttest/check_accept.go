package transporttest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"go-micro.dev/v4/transport"
)

func acceptChecks() []check {
	return []check{
		{name: "accept/returns nil, after Close only", needs: AcceptNil, run: acceptReturns},
		{name: "accept/after Close", needs: AcceptNil, run: acceptAfterClose},
		{name: "accept/handler's return closes the socket", needs: HandlerReturnCloses, run: returnCloses},
		{name: "accept/handler's panic closes its socket only", needs: PanicContained, fatal: true, run: panicContained},
		{name: "accept/handlers run side by side", run: sideBySide},
	}
}

// acceptReturns: after any error the server sleeps a second and calls Accept
// again, unless it was stopped.
func acceptReturns(e *env) error {
	s := e.serve(anyPort, echo)
	for range 3 {
		if err := e.echoed(e.dial(s.Addr()), message("hello")); err != nil {
			return err
		}
	}
	select {
	case err := <-s.accepted:
		return fmt.Errorf("Accept returned %v while the listener was open", err)
	default:
	}
	_ = e.within("Close of the listener", s.Close)
	if err := e.wait("Accept", s.accepted); err != nil {
		return fmt.Errorf("Accept after Close: %w", err)
	}
	return nil
}

func acceptAfterClose(e *env) error {
	l, err := e.tr.Listen(anyPort)
	if err != nil {
		return fmt.Errorf("Listen: %w", err)
	}
	if err := e.within("Close of the listener", l.Close); err != nil {
		return fmt.Errorf("Close of the listener: %w", err)
	}
	if err := e.within("Accept", func() error { return l.Accept(echo) }); err != nil {
		return fmt.Errorf("Accept after Close: %w", err)
	}
	return nil
}

func returnCloses(e *env) error {
	p := e.pair()
	if err := p.quit(e); err != nil {
		return err
	}
	if _, err := e.recv(p.client); err == nil || errors.Is(err, errBlocked) {
		return fmt.Errorf("the client's Recv returned %v, want an error", err)
	}
	return nil
}

// panicContained: the handler of the first socket panics, beside a second
// socket that works on, and before a third.
func panicContained(e *env) error {
	var calls atomic.Int64
	s := e.serve(anyPort, func(s transport.Socket) {
		for {
			var m transport.Message
			if err := s.Recv(&m); err != nil {
				return
			}
			calls.Add(1)
			if string(m.Body) == "panic" {
				panic("handler was told to panic")
			}
			if err := s.Send(&m); err != nil {
				return
			}
		}
	})
	beside := e.dial(s.Addr(), transport.WithStream())
	if err := e.echoed(beside, message("before")); err != nil {
		return err
	}
	for range 3 {
		c := e.dial(s.Addr(), transport.WithStream())
		if err := e.send(c, message("panic")); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
		if _, err := e.recv(c); err == nil || errors.Is(err, errBlocked) {
			return fmt.Errorf("Recv from a handler that panicked returned %v, want an error", err)
		}
	}
	if err := e.echoed(beside, message("beside")); err != nil {
		return fmt.Errorf("a socket beside one whose handler panicked: %w", err)
	}
	if err := e.echoed(e.dial(s.Addr(), transport.WithStream()), message("after")); err != nil {
		return fmt.Errorf("a socket after one whose handler panicked: %w", err)
	}
	return nil
}

// sideBySide: no handler waits for another to return.
func sideBySide(e *env) error {
	const n = 10
	var inside atomic.Int64
	all := make(chan struct{})
	s := e.serve(anyPort, func(s transport.Socket) {
		var m transport.Message
		if err := s.Recv(&m); err != nil {
			return
		}
		if inside.Add(1) == n {
			close(all)
		}
		<-all
		_ = s.Send(&m)
	})
	clients := make([]transport.Client, n)
	for i := range clients {
		clients[i] = e.dial(s.Addr(), transport.WithStream())
		if err := e.send(clients[i], message(fmt.Sprint(i))); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
	}
	if _, err := signal(e, "ten handlers at once", all); err != nil {
		return err
	}
	for i, c := range clients {
		if err := e.expect(c, message(fmt.Sprint(i))); err != nil {
			return err
		}
	}
	return nil
}
