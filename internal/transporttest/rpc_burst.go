package transporttest

import (
	"fmt"

	"go-micro.dev/v4/client"
	"golang.org/x/sync/errgroup"
)

func burstChecks() []check {
	return []check{
		// One more than go-micro's pool and QUIC's default stream limit.
		{name: "burst/101 calls at once", run: burst(101, 101)},
		{name: "burst/1000 calls at once", run: burst(1000, 100)},
		{name: "burst/calls of all kinds", run: allKinds},
	}
}

// burst: all calls are with their handlers at the same time. Then as many
// again, over what the pool has kept.
func burst(n, onTheWay int) func(*env) error {
	return func(e *env) error {
		f := e.fleet()
		f.probe.meeting = newMeeting(n, onTheWay)
		var meet errgroup.Group
		for i := range n {
			if err := e.place(f.probe.meeting.onTheWay); err != nil {
				return err
			}
			meet.Go(func() error { return f.answers("Meet", fmt.Sprint("meeting ", i)) })
		}
		if err := meet.Wait(); err != nil {
			return err
		}
		var again errgroup.Group
		again.SetLimit(onTheWay)
		for i := range n {
			again.Go(func() error { return f.works(fmt.Sprint("again ", i)) })
		}
		return again.Wait()
	}
}

// place takes a place among the calls on their way.
func (e *env) place(onTheWay chan<- struct{}) error {
	return e.within("the calls before", func() error {
		onTheWay <- struct{}{}
		return nil
	})
}

// allKinds: calls that succeed beside calls that fail, give up, or close their
// connection. Each gets its own answer.
func allKinds(e *env) error {
	f := e.fleet()
	var group errgroup.Group
	for id := range 8 {
		group.Go(func() error {
			for i := range 40 {
				text := fmt.Sprint("call ", i, " of ", id)
				var err error
				switch i % 4 {
				case 0, 1:
					err = f.works(text)
				case 2:
					err = f.fails(text)
				case 3:
					err = f.works(text, client.WithConnClose())
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 3 {
		group.Go(func() error {
			if err := f.answers("Block", "never", callTimeout(soon)); err == nil {
				return fmt.Errorf("a blocked handler answered")
			}
			return nil
		})
	}
	return group.Wait()
}
