package registry_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is calls at a steady rate.
type load struct {
	t    *testing.T
	ok   atomic.Int64
	quit chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	failed []error
}

// load calls greeter from several goroutines until it is stopped.
func (c *caller) load() *load {
	c.t.Helper()
	l := &load{t: c.t, quit: make(chan struct{})}
	const goroutines, pause = 4, 5 * time.Millisecond
	for range goroutines {
		l.wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				if err := c.hello(); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				} else {
					l.ok.Add(1)
				}
				select {
				case <-tick.C:
				case <-l.quit:
					return
				}
			}
		})
	}
	c.t.Cleanup(func() { l.stop() })
	l.more(20)
	eventually(c.t, "the registry is watched", func() bool { return c.watches.begun.Load() > 0 })
	return l
}

// more waits until n further calls have succeeded.
func (l *load) more(n int64) {
	l.t.Helper()
	want := l.ok.Load() + n
	eventually(l.t, "further calls succeed", func() bool { return l.ok.Load() >= want })
}

func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	l.wg.Wait()
}

// noneFailed ends the load, which must have met no error.
func (l *load) noneFailed() {
	l.t.Helper()
	l.more(20)
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.failed); n > 0 {
		l.t.Errorf("%d of %d calls failed, the first: %v", n, int64(n)+l.ok.Load(), l.failed[0])
	}
}

// failures counts the calls that have failed so far.
func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failed)
}
