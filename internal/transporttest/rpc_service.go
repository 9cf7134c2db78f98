package transporttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v4"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/server"
)

func serviceChecks() []check {
	return []check{
		{name: "service/runs until its context ends", run: runsUntilDone},
		{name: "service/stops and starts between calls", needs: PortReuse, run: restarts},
		{name: "service/stops with a call in flight, gracefully", run: stopsGracefully},
		{name: "service/stops beside a handler that hangs", run: stopsBesideHanging},
		{name: "service/client changes its pool after the server left", run: poolAfterStop},
		{name: "service/ordinary ends are not logged as errors", run: quietEnds},
	}
}

func runsUntilDone(e *env) error {
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	started := make(chan struct{})
	f := e.service(nil, micro.Context(ctx), micro.AfterStart(func() error { close(started); return nil }))
	ended := make(chan error, 1)
	go func() { ended <- f.Run() }()
	if _, err := signal(e, "the start", started); err != nil {
		return err
	}
	if err := f.works("hello"); err != nil {
		return err
	}
	cancel()
	if err := e.wait("Run", ended); err != nil {
		return fmt.Errorf("Run: %w", err)
	}
	return nil
}

// restarts: the client keeps a connection to a server that goes and comes
// back on its port. The next call finds out by using it, and go-micro does not
// try a second time.
func restarts(e *env) error {
	// A fixed port: go-micro goes on to register the first port that it was
	// given, whatever it gets later.
	f := e.fleet(micro.Address(fmt.Sprint("127.0.0.1:", freePorts(e))))
	for i := range 5 {
		if err := f.works(fmt.Sprint("before stop ", i)); err != nil {
			return err
		}
		if err := e.within("Stop", f.Server().Stop); err != nil {
			return fmt.Errorf("Stop %d: %w", i, err)
		}
		if err := e.within("Start", f.Server().Start); err != nil {
			return fmt.Errorf("Start %d: %w", i, err)
		}
		for range 2 {
			if err := f.works(fmt.Sprint("after start ", i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopsGracefully: with server.Wait, Stop waits for the handler, and the answer
// is still sent.
func stopsGracefully(e *env) error {
	for i := range 5 {
		f := e.service([]server.Option{server.Wait(nil)}).start()
		answered := make(chan error, 1)
		go func() { answered <- f.answers("Block", fmt.Sprint("in flight ", i)) }()
		if _, err := signal(e, "the handler", f.probe.entered); err != nil {
			return err
		}
		stopped := make(chan error, 1)
		go func() { stopped <- f.Server().Stop() }()
		if _, err := signal(e, "leaving the registry", f.left); err != nil {
			return err
		}
		select {
		case err := <-stopped:
			return fmt.Errorf("Stop returned %v beside a call in flight", err)
		default:
		}
		f.probe.release()
		if err := e.wait("the call in flight", answered); err != nil {
			return fmt.Errorf("the call in flight: %w", err)
		}
		if err := e.wait("Stop", stopped); err != nil {
			return fmt.Errorf("Stop: %w", err)
		}
	}
	return nil
}

// stopsBesideHanging: without server.Wait, Stop closes the listener beside
// handlers that may never return.
func stopsBesideHanging(e *env) error {
	f := e.fleet()
	answered := make(chan error, 1)
	go func() { answered <- f.answers("Block", "never", callTimeout(time.Second)) }()
	if _, err := signal(e, "the handler", f.probe.entered); err != nil {
		return err
	}
	if err := e.within("Stop", f.Server().Stop); err != nil {
		return fmt.Errorf("Stop: %w", err)
	}
	f.probe.release()
	if err := e.wait("the call in flight", answered); errors.Is(err, errBlocked) {
		return err
	}
	return nil
}

// poolAfterStop: Init closes the pool, and fails if that does.
func poolAfterStop(e *env) error {
	f := e.fleet()
	if err := f.works("hello"); err != nil {
		return err
	}
	if err := e.within("Stop", f.Server().Stop); err != nil {
		return fmt.Errorf("Stop: %w", err)
	}
	if err := e.within("Init", func() error { return f.Client().Init(client.PoolSize(7)) }); err != nil {
		return fmt.Errorf("Init with another pool size: %w", err)
	}
	return nil
}

// quietEnds: calls, connections that end with a call, an error, a pool that
// closes, and a server that stops.
func quietEnds(e *env) error {
	f := e.fleet()
	for i := range 10 {
		if err := errors.Join(
			f.works(fmt.Sprint(i)),
			f.works(fmt.Sprint(i), client.WithConnClose()),
			f.fails(fmt.Sprint("error ", i)),
		); err != nil {
			return err
		}
	}
	if err := e.within("Init", func() error { return f.Client().Init(client.PoolSize(7)) }); err != nil {
		return fmt.Errorf("Init with another pool size: %w", err)
	}
	if err := f.works("another pool"); err != nil {
		return err
	}
	if err := e.within("Stop", f.Server().Stop); err != nil {
		return fmt.Errorf("Stop: %w", err)
	}
	if lines := f.log.errors(); len(lines) > 0 {
		return fmt.Errorf("%d lines were logged as errors, the first: %s", len(lines), lines[0])
	}
	return nil
}
