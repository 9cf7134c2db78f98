package signed

import (
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// Waits before something is tried again: each is twice the one before, and up to
// half less at random, so that a fleet does not come back all at once.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 30 * time.Second
	// steady is how long a watch lasts that has worked, so that a registry which
	// drops each at once is not asked at once each time.
	steady = time.Minute
)

func backoff(failures int) time.Duration {
	wait := lastWait
	if failures < 9 {
		wait = min(firstWait<<failures, lastWait)
	}
	return wait - rand.N(wait/2)
}

// feed hands on the events of the inner registry, and watches again when that fails.
func (w *watcher) feed(inner registry.Watcher) {
	for failures := 0; ; {
		began := time.Now()
		err := w.pump(inner)
		if time.Since(began) >= steady {
			failures = 0
		}
		for inner = nil; inner == nil; failures++ {
			if w.stopped() {
				return
			}
			wait := backoff(failures)
			w.live.report.log.Logf(logger.WarnLevel, "signed: the watch of %s was lost, the next try is in %v: %v", called(w.service), wait.Round(time.Millisecond), err)
			if !w.sleep(wait) {
				return
			}
			inner, err = watchInner(w.live.inner, w.opts)
		}
		wake(w.lost)
	}
}

// pump hands on the events of an inner watcher until it fails. It does not wait for
// run: go-micro's memory registry drops what is not fetched within 10 ms. The inner
// watcher is stopped once, since memory's panics when two stop it at a time, and in a
// goroutine of its own, since Stop may hang.
func (w *watcher) pump(inner registry.Watcher) error {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-w.done:
		case <-ended:
		}
		inner.Stop()
	}()
	for {
		result, err := inner.Next()
		switch {
		case w.stopped():
			return registry.ErrWatcherStopped
		case err != nil:
			return err
		case result == nil || result.Service == nil:
			continue
		}
		select {
		case w.events <- result:
		default:
			wake(w.lost)
		}
	}
}

// called is what a log calls a service, "" for all.
func called(service string) string {
	if service == "" {
		return "all services"
	}
	return keys.Quote(service)
}

// sleep reports false if the watcher was stopped.
func (w *watcher) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.done:
		return false
	}
}

// wake puts a token where one is enough.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
