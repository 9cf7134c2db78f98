package transporttest

import (
	"fmt"
	"sync/atomic"

	"go-micro.dev/v4/transport"
	"golang.org/x/sync/errgroup"
)

func loadChecks() []check {
	return []check{
		// One more than go-micro's pool and QUIC's default stream limit.
		{name: "load/101 sockets at once", run: manySockets(101, 101)},
		{name: "load/1000 sockets at once", run: manySockets(1000, 50)},
		{name: "load/sockets come and go", run: comeAndGo},
		{name: "load/stalled readers stall nobody else", run: stalledReaders},
		{name: "load/silent clients stall nobody else", run: silentClients},
	}
}

// manySockets: all are open, and have been used, before any is used again.
// No more than some are being opened at a time: the http transport hangs up on
// a client that says nothing for 5 s, which a loaded machine may be slow to do.
func manySockets(n, opening int) func(*env) error {
	return func(e *env) error {
		s := e.serve(anyPort, echo)
		clients := make([]transport.Client, n)
		var open errgroup.Group
		open.SetLimit(opening)
		for i := range clients {
			open.Go(func() (err error) {
				if clients[i], err = e.tryDial(s.Addr(), transport.WithStream()); err != nil {
					return fmt.Errorf("Dial %d: %w", i, err)
				}
				return e.echoed(clients[i], message(fmt.Sprint("first of ", i)))
			})
		}
		if err := open.Wait(); err != nil {
			return err
		}
		var use errgroup.Group
		for i, c := range clients {
			use.Go(func() error {
				for round := range 3 {
					if err := e.echoed(c, message(fmt.Sprint(i, " ", round))); err != nil {
						return fmt.Errorf("socket %d, round %d: %w", i, round, err)
					}
				}
				return nil
			})
		}
		return use.Wait()
	}
}

// comeAndGo: sockets that were opened and closed leave nothing behind that
// would run out.
func comeAndGo(e *env) error {
	s := e.serve(anyPort, echo)
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for i := range 150 {
				c, err := e.tr.Dial(s.Addr(), transport.WithStream())
				if err != nil {
					return fmt.Errorf("Dial %d: %w", i, err)
				}
				if err := e.echoed(c, message(fmt.Sprint(i))); err != nil {
					return fmt.Errorf("socket %d: %w", i, err)
				}
				if err := c.Close(); err != nil {
					return fmt.Errorf("Close %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// stalledReaders: two clients do not read what the server sends them until no
// more can be sent. A third must not notice.
func stalledReaders(e *env) error {
	var sent atomic.Int64
	s := e.serve(anyPort, func(s transport.Socket) {
		var m transport.Message
		if err := s.Recv(&m); err == nil {
			_ = flood(s, 64<<10, &sent)
		}
	})
	clock := e.dial(e.serve(anyPort, echo).Addr(), transport.WithStream())
	for range 2 {
		c := e.dial(s.Addr(), transport.WithStream())
		if err := e.send(c, message("flood me")); err != nil {
			return fmt.Errorf("Send: %w", err)
		}
	}
	return e.stalled(clock, &sent)
}

// silentClients: clients that connect and say nothing must not keep the
// listener from serving others.
func silentClients(e *env) error {
	s := e.serve(anyPort, echo)
	for range 20 {
		e.dial(s.Addr(), transport.WithStream())
	}
	return e.echoed(e.dial(s.Addr(), transport.WithStream()), message("hello"))
}
