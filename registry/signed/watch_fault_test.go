package signed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

var errDown = errors.New("the registry is down")

func TestFirstWatchErrorIsReturned(t *testing.T) {
	inner := newBoard()
	inner.fail(errDown)
	if _, err := newFleet(t).registry("reader", inner).Watch(); !errors.Is(err, errDown) {
		t.Errorf("got %v, want the inner error", err)
	}
}

// What happened while the watch was lost is told as a difference.
func TestLostWatchIsMadeUpFor(t *testing.T) {
	for _, watched := range []struct {
		name string
		opts []registry.WatchOption
	}{
		{"of one service", []registry.WatchOption{registry.WatchService("greeter")}},
		{"of all", nil},
	} {
		t.Run(watched.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				self := f.issue("reader")
				greets := f.registry("greeter", inner)
				for _, id := range []string{"stays", "goes", "moves"} {
					mustRegister(t, greets, greeter(node(id, addressA)))
				}
				o := observe(t, wrap(t, inner, self), watched.opts...)
				o.want(t)
				inner.cut()
				synctest.Wait()
				inner.lose("greeter", "goes")
				mustRegister(t, greets, greeter(node("moves", addressB)))
				mustRegister(t, greets, greeter(node("comes", addressB)))
				mustRegister(t, inner, greeter(node("forged", addressB)))
				o.want(t)
				sleep(time.Second)
				got := o.take()
				slices.Sort(got)
				want := []string{"create 1.2.3 comes@" + addressB, "delete 1.2.3 goes@" + addressA, "update 1.2.3 moves@" + addressB}
				if !slices.Equal(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
				inner.push(event("delete", greeter(node("stays", ""))))
				o.want(t, "delete 1.2.3 stays@"+addressA) // events come again
			})
		})
	}
}

// A service whose last node goes is in no list any more.
func TestServiceThatVanishesUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
		o := observe(t, f.registry("reader", inner))
		o.want(t)
		inner.cut()
		inner.lose("greeter", "a")
		sleep(time.Second)
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

func TestOutageChangesNothingButTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		orphan(t, inner, f.issue("greeter"), greeter(node("short", addressA)), signed.Validity(time.Minute))
		orphan(t, inner, f.issue("greeter"), greeter(node("long", addressB)))
		o := observe(t, reader, registry.WatchService("greeter"))
		o.want(t)
		inner.fail(errDown)
		inner.cut()
		sleep(50 * time.Second)
		o.want(t)
		sleep(20 * time.Second)
		o.want(t, "delete 1.2.3 short@"+addressA)
		inner.fail(nil)
		inner.lose("greeter", "long")
		sleep(time.Minute) // more than the longest wait between tries
		o.want(t, "delete 1.2.3 long@"+addressB)
	})
}

// The watch comes back before lookups do.
func TestFailedComparisonIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := &flaky{board: newBoard()}, newFleet(t)
		greets := f.registry("greeter", inner)
		mustRegister(t, greets, greeter(node("a", addressA)))
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		o.want(t)
		inner.dead.Store(true)
		inner.lose("greeter", "a")
		inner.cut()
		asked := inner.asked.Load()
		sleep(time.Minute)
		o.want(t)
		if n := inner.asked.Load() - asked; n > 20 {
			t.Errorf("a registry that is down was asked %d times in a minute", n)
		}
		inner.dead.Store(false)
		sleep(time.Minute)
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

// flaky is a board whose lookups can fail, or hang, beside a watch that works.
type flaky struct {
	*board
	dead  atomic.Bool
	asked atomic.Int64
	hang  chan struct{}
}

func (f *flaky) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	f.asked.Add(1)
	if f.hang != nil {
		<-f.hang
	}
	if f.dead.Load() {
		return nil, errDown
	}
	return f.board.GetService(name, opts...)
}

// An event knows better than an answer that was under way when it came.
func TestEventsOvertakeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		held := newBoard()
		mustRegister(t, f.registry("greeter", held), greeter(node("a", addressA)))
		stale := held.one(t, "greeter")
		inner := &flaky{board: newBoard(), hang: make(chan struct{})}
		inner.forge(func([]*registry.Service) []*registry.Service { return []*registry.Service{stale} })
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait() // it asks
		inner.push(event("create", held.one(t, "greeter")))
		o.want(t, "create 1.2.3 a@"+addressA) // though no answer has come
		inner.push(event("delete", held.one(t, "greeter")))
		o.want(t, "delete 1.2.3 a@"+addressA)
		close(inner.hang)
		o.want(t)
		inner.push(event("delete", held.one(t, "greeter")))
		o.want(t) // the answer has not brought it back
	})
}

// The other way round: the answer is from before the node was there.
func TestAnswersDoNotUndoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		held := newBoard()
		mustRegister(t, f.registry("greeter", held), greeter(node("a", addressA)))
		inner := &flaky{board: newBoard(), hang: make(chan struct{})}
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait() // it asks
		inner.push(event("create", held.one(t, "greeter")))
		o.want(t, "create 1.2.3 a@"+addressA)
		close(inner.hang)
		o.want(t)
	})
}

// A registry that drops every watch at once is asked less and less often.
func TestFailingWatchIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := &dropper{board: newBoard()}, newFleet(t)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		sleep(10 * time.Minute)
		if n := inner.watched.Load(); n < 15 || n > 60 {
			t.Errorf("watched %d times in 10 minutes, want at most every 15 s in the end", n)
		}
		o.want(t)
	})
}

// dropper is a board whose watches end at once.
type dropper struct {
	*board
	watched atomic.Int64
}

func (d *dropper) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	d.watched.Add(1)
	w, err := d.board.Watch(opts...)
	if err == nil {
		w.Stop()
	}
	return w, err
}

// stuck is a board whose watchers hang in Next and in Stop until it is released.
type stuck struct {
	*board
	release chan struct{}
	stops   atomic.Int64
}

func (s *stuck) Watch(...registry.WatchOption) (registry.Watcher, error) {
	return stuckWatcher{s}, nil
}

type stuckWatcher struct{ *stuck }

func (w stuckWatcher) Next() (*registry.Result, error) { <-w.release; return nil, errDown }
func (w stuckWatcher) Stop()                           { w.stops.Add(1); <-w.release }

func TestStopDoesNotWaitForTheRegistry(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(t *testing.T, r registry.Registry, w registry.Watcher, cancel func())
	}{
		{"Stop", func(_ *testing.T, _ registry.Registry, w registry.Watcher, _ func()) { w.Stop() }},
		{"Stop, many times", func(_ *testing.T, _ registry.Registry, w registry.Watcher, _ func()) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(w.Stop)
			}
			wg.Wait()
		}},
		{"Close", func(t *testing.T, r registry.Registry, _ registry.Watcher, _ func()) { closeRegistry(t, r) }},
		{"context", func(_ *testing.T, _ registry.Registry, _ registry.Watcher, cancel func()) { cancel() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &stuck{board: newBoard(), release: make(chan struct{})}
				r := newFleet(t).registry("reader", inner)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w, err := r.Watch(registry.WatchContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() {
					_, err := w.Next()
					ended <- err
				}()
				synctest.Wait()
				end.do(t, r, w, cancel)
				synctest.Wait()
				select {
				case err := <-ended:
					if !errors.Is(err, registry.ErrWatcherStopped) {
						t.Errorf("Next: %v, want registry.ErrWatcherStopped", err)
					}
				default:
					t.Error("Next still waits")
				}
				if _, err := w.Next(); !errors.Is(err, registry.ErrWatcherStopped) {
					t.Errorf("Next again: %v, want registry.ErrWatcherStopped", err)
				}
				if n := inner.stops.Load(); n != 1 {
					t.Errorf("the inner watcher was stopped %d times, want once", n)
				}
				close(inner.release)
			})
		})
	}
}

func TestStopEndsALostWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newBoard()
		o := observe(t, newFleet(t).registry("reader", inner))
		synctest.Wait()
		inner.fail(errDown)
		inner.cut()
		sleep(time.Second)
		o.watcher.Stop() // the bubble ends only if nothing goes on
	})
}

func TestWatchAfterClose(t *testing.T) {
	r := newFleet(t).registry("reader", newBoard())
	w, err := r.Watch()
	if err != nil {
		t.Fatal(err)
	}
	closeRegistry(t, r)
	if _, err := w.Next(); !errors.Is(err, registry.ErrWatcherStopped) {
		t.Errorf("Next: %v, want registry.ErrWatcherStopped", err)
	}
	if _, err := r.Watch(); !errors.Is(err, signed.ErrClosed) {
		t.Errorf("Watch: %v, want ErrClosed", err)
	}
	w.Stop()
}

// Next may be called from several goroutines: each result goes to one of them.
func TestNextFromSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		w, err := f.registry("reader", inner).Watch()
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan string, 100)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					r, err := w.Next()
					if err != nil {
						return
					}
					results <- r.Service.Name
				}
			})
		}
		var want []string
		for i := range 20 {
			name := fmt.Sprintf("s%02d", i)
			want = append(want, name)
			mustRegister(t, f.registry(name, inner), serviceOf(name, node("a", addressA)))
		}
		synctest.Wait()
		w.Stop()
		readers.Wait()
		close(results)
		var got []string
		for name := range results {
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Each of those who wait is woken if there is something for it.
func TestEachNextIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		greets := f.registry("greeter", inner)
		mustRegister(t, greets, greeter(node("a", addressA)))
		w, err := f.registry("reader", inner).Watch(registry.WatchService("greeter"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		synctest.Wait()
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				if _, err := w.Next(); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		next := greeter(node("a", addressA))
		next.Version = "2.0.0" // the end of one version, and another
		mustRegister(t, greets, next)
		readers.Wait()
	})
}

// What a lookup has found may have gone before the watch began.
func TestWhatWentBeforeTheWatchIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
		wantNodes(t, reader, "greeter", "a@"+addressA)
		inner.lose("greeter", "a")
		o := observe(t, reader, registry.WatchService("greeter"))
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

// silent returns neither a watcher nor an error.
type silent struct{ *board }

func (silent) Watch(...registry.WatchOption) (registry.Watcher, error) { return nil, nil }

func TestRegistryWithoutWatcher(t *testing.T) {
	if _, err := newFleet(t).registry("reader", silent{newBoard()}).Watch(); err == nil {
		t.Error("no error")
	}
}

// Events that come faster than they can be looked at, here because a hook takes its
// time, are not kept: the registry is asked for the outcome.
func TestEventsThatAreDroppedAreMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		enter, leave := make(chan struct{}, 1), make(chan struct{})
		var once sync.Once
		reader := f.registry("reader", inner, signed.OnReject(func(signed.Rejection) {
			once.Do(func() { enter <- struct{}{}; <-leave })
		}))
		greets := f.registry("greeter", inner)
		mustRegister(t, greets, greeter(node("goes", addressA)))
		o := observe(t, reader, registry.WatchService("greeter"))
		o.want(t)
		inner.push(event("create", greeter(node("forged", addressB))))
		<-enter
		for _, n := range many(1000) {
			inner.push(event("create", greeter(n)))
		}
		synctest.Wait() // dropped, most of them, and all from here on
		mustRegister(t, greets, greeter(node("comes", addressB)))
		inner.lose("greeter", "goes")
		o.want(t)
		close(leave)
		synctest.Wait()
		got := o.take()
		slices.Sort(got)
		if want := []string{"create 1.2.3 comes@" + addressB, "delete 1.2.3 goes@" + addressA}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}
