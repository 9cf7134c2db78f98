package transporttest

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go-micro.dev/v4/transport"
)

// limit is the Timeout that timeoutChecks set.
const limit = 100 * time.Millisecond

func timeoutChecks() []check {
	opts := []transport.Option{transport.Timeout(limit)}
	client := func(p *pair) transport.Socket { return p.client }
	server := func(p *pair) transport.Socket { return p.server }
	return []check{
		{name: "timeout/client receives", opts: opts, needs: Timeouts, run: recvTimeout(client)},
		{name: "timeout/server receives", opts: opts, needs: Timeouts, run: recvTimeout(server)},
		{name: "timeout/client sends", opts: opts, needs: Timeouts, run: sendTimeout(client)},
		{name: "timeout/server sends", opts: opts, needs: Timeouts, run: sendTimeout(server)},
		{name: "timeout/does not add up", opts: opts, run: timeoutEach},
	}
}

// recvTimeout: the error is not io.EOF, which would say that the peer is done.
func recvTimeout(end func(*pair) transport.Socket) func(*env) error {
	return func(e *env) error {
		p := e.pair()
		start := time.Now()
		_, err := e.recv(end(p))
		took := time.Since(start)
		switch {
		case err == nil:
			return errors.New("Recv returned a message that nobody sent")
		case errors.Is(err, errBlocked):
			return err
		case errors.Is(err, io.EOF):
			return fmt.Errorf("Recv timed out with %w, which means a clean end", err)
		case took < limit:
			return fmt.Errorf("Recv gave up after %v, before its timeout of %v: %w", took, limit, err)
		}
		return nil
	}
}

// sendTimeout: a peer that does not read.
func sendTimeout(end func(*pair) transport.Socket) func(*env) error {
	return func(e *env) error {
		p := e.pair()
		var sent atomic.Int64
		err := e.within("Send", func() error { return flood(end(p), 256<<10, &sent) })
		if errors.Is(err, errBlocked) {
			return err
		}
		return nil
	}
}

// timeoutEach: many operations that together take longer than one may.
func timeoutEach(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr(), transport.WithStream())
	for start := time.Now(); time.Since(start) < 2*limit; {
		if err := e.echoed(c, message("hello")); err != nil {
			return fmt.Errorf("after %v: %w", time.Since(start), err)
		}
	}
	return nil
}
