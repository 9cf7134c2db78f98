package transporttest

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"go-micro.dev/v4/transport"
)

func closeChecks() []check {
	return []check{
		{name: "close/again on a client", needs: IdempotentClose, run: closeAgain},
		{name: "close/again on a server's socket", run: closeServerAgain},
		{name: "close/ends a Recv in progress", needs: CloseUnblocksRecv, run: closeEndsRecv},
		{name: "close/ends a Send in progress", needs: CloseUnblocksSend, run: closeEndsSend(func(p *pair) transport.Socket { return p.client })},
		{name: "close/ends a server's Send in progress", needs: ServerCloseUnblocksSend, run: closeEndsSend(func(p *pair) transport.Socket { return p.server })},
		{name: "close/use after it", run: useAfterClose},
		{name: "close/use after it on a server's socket", needs: ServerCloseIsLocal, run: useAfterServerClose},
		{name: "close/server is told at a boundary", needs: CleanEOF, run: cleanEOF},
		{name: "close/client is told while the handler runs", needs: PeerSeesClose, run: peerSeesClose},
		{name: "close/after the peer has closed", run: closeAfterPeer},
		{name: "close/after the listener has closed", run: closeAfterListener},
		{name: "close/beside everything", needs: ConcurrentClose, fatal: true, run: closeBesideAll},
	}
}

func closeAgain(e *env) error {
	p := e.pair()
	for i := range 3 {
		if err := e.within("Close", p.client.Close); err != nil {
			return fmt.Errorf("Close %d: %w", i, err)
		}
	}
	return nil
}

func closeServerAgain(e *env) error {
	p := e.pair()
	for i := range 3 {
		if err := e.within("Close", p.server.Close); err != nil {
			return fmt.Errorf("Close %d: %w", i, err)
		}
	}
	return p.quit(e)
}

// closeEndsRecv: a call's timeout gives the socket back while a Recv waits.
func closeEndsRecv(e *env) error {
	for range 20 {
		p := e.pair()
		ended, err := e.recvStarted(p.client, p.server)
		if err != nil {
			return err
		}
		if err := e.within("Close", p.client.Close); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
		if err := e.wait("Recv", ended); err != io.EOF {
			return fmt.Errorf("Recv ended with %v, want exactly io.EOF", err)
		}
	}
	return nil
}

// closeEndsSend: the client holds a lock during Send that the call's timeout
// needs.
func closeEndsSend(end func(*pair) transport.Socket) func(*env) error {
	return func(e *env) error {
		clock := e.dial(e.serve(anyPort, echo).Addr(), transport.WithStream())
		p := e.pair()
		var sent atomic.Int64
		ended := make(chan error, 1)
		go func() { ended <- flood(end(p), 64<<10, &sent) }()
		if err := e.stalled(clock, &sent); err != nil {
			return err
		}
		if err := e.within("Close", end(p).Close); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
		if err := e.wait("Send", ended); errors.Is(err, errBlocked) {
			return err
		}
		return nil
	}
}

func useAfterClose(e *env) error {
	p := e.pair()
	return e.closeAndUse(p.client)
}

func useAfterServerClose(e *env) error {
	p := e.pair()
	return e.closeAndUse(p.server)
}

func (e *env) closeAndUse(s transport.Socket) error {
	if err := e.within("Close", s.Close); err != nil {
		return fmt.Errorf("Close: %w", err)
	}
	for range 2 {
		if _, err := e.recv(s); err != io.EOF {
			return fmt.Errorf("Recv after Close returned %v, want exactly io.EOF", err)
		}
		err := e.send(s, message("too late"))
		if err == nil || errors.Is(err, errBlocked) {
			return fmt.Errorf("Send after Close returned %v, want an error", err)
		}
	}
	return nil
}

// cleanEOF: the server logs every other error as one.
func cleanEOF(e *env) error {
	for range 20 {
		p := e.pair()
		ended, err := e.recvStarted(p.server, p.client)
		if err != nil {
			return err
		}
		if err := e.within("Close", p.client.Close); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
		if err := e.wait("the server's Recv", ended); err != io.EOF {
			return fmt.Errorf("the server's Recv returned %v, want exactly io.EOF", err)
		}
		if _, err := e.recv(p.server); err != io.EOF {
			return fmt.Errorf("the server's next Recv returned %v, want exactly io.EOF", err)
		}
	}
	return nil
}

func peerSeesClose(e *env) error {
	for range 20 {
		p := e.pair()
		ended, err := e.recvStarted(p.client, p.server)
		if err != nil {
			return err
		}
		if err := e.within("Close", p.server.Close); err != nil {
			return fmt.Errorf("Close: %w", err)
		}
		if err := e.wait("the client's Recv", ended); err == nil || errors.Is(err, errBlocked) {
			return fmt.Errorf("the client's Recv returned %v, want an error", err)
		}
	}
	return nil
}

// closeAfterPeer: util/pool and client.Init take an error of Close for their
// own.
func closeAfterPeer(e *env) error {
	for range 10 {
		p := e.pair()
		if err := e.within("Close", p.server.Close); err != nil {
			return fmt.Errorf("Close of the server's socket: %w", err)
		}
		if err := p.quit(e); err != nil {
			return err
		}
		if err := e.within("Close", p.client.Close); err != nil {
			return fmt.Errorf("Close of the client: %w", err)
		}
	}
	return nil
}

func closeAfterListener(e *env) error {
	p := e.pair()
	_ = e.within("Close of the listener", p.listener.Close)
	if err := p.quit(e); err != nil {
		return err
	}
	if err := e.within("Close", p.client.Close); err != nil {
		return fmt.Errorf("Close of the client: %w", err)
	}
	if err := e.within("Close", p.server.Close); err != nil {
		return fmt.Errorf("Close of the server's socket: %w", err)
	}
	return nil
}

// closeBesideAll: on both ends goroutines send and receive while others close.
func closeBesideAll(e *env) error {
	const rounds, each = 20, 3
	for range rounds {
		p := e.pair()
		var started, ended sync.WaitGroup
		for _, end := range []transport.Socket{p.client, p.server} {
			started.Add(each + 1)
			for i := range each {
				ended.Go(func() {
					started.Done()
					for end.Send(sized(2000*i, i)) == nil {
					}
				})
			}
			ended.Go(func() {
				started.Done()
				for end.Recv(new(transport.Message)) == nil {
				}
			})
		}
		started.Wait()
		for _, end := range []transport.Socket{p.client, p.server} {
			for range each {
				ended.Go(func() { _ = end.Close() })
			}
		}
		if err := e.within("Send, Recv and Close", func() error { ended.Wait(); return nil }); err != nil {
			return err
		}
		if err := p.quit(e); err != nil {
			return err
		}
	}
	return nil
}
