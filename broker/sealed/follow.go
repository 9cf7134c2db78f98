package sealed

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
	"golang.org/x/sync/singleflight"
)

const (
	// lookupAgain is how soon a service whose key is not known is looked up again.
	lookupAgain = time.Second
	// maxAsked is how many lookups are remembered for longer than that.
	maxAsked = 1024
	// firstRetry and lastRetry are the pauses after a watch that failed.
	firstRetry, lastRetry = 100 * time.Millisecond, 10 * time.Second
)

// follower asks a registry for services, and watches them, so that a signed registry
// keeps their keys in the peer directory. The answers do not matter here. It does
// nothing without a registry.
type follower struct {
	registry registry.Registry
	report   *reporter
	asking   singleflight.Group
	ctx      context.Context
	cancel   context.CancelFunc

	mu      sync.Mutex
	enabled bool
	asked   map[string]time.Time
	watched map[string]bool
}

func newFollower(r registry.Registry, report *reporter) *follower {
	f := &follower{registry: r, report: report, asked: make(map[string]time.Time), watched: make(map[string]bool)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// enable lets watches begin, while the broker is connected.
func (f *follower) enable(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enabled = is
}

func (f *follower) close() { f.cancel() }

// lookup asks for a service and waits for the answer, unless that was done a moment ago
// and nothing has changed since.
func (f *follower) lookup(service string, changed bool) {
	if f.registry == nil {
		return
	}
	_, _, _ = f.asking.Do(service, func() (any, error) {
		f.mu.Lock()
		recent := time.Since(f.asked[service]) < lookupAgain
		f.mu.Unlock()
		if changed || !recent {
			f.ask(service)
		}
		return nil, nil
	})
}

func (f *follower) ask(service string) {
	if _, err := f.registry.GetService(service); err != nil {
		f.report.warnf("sealed: look up %s: %v", keys.Quote(service), err)
	}
	f.mu.Lock()
	if len(f.asked) >= maxAsked { // publishers name whom they like
		maps.DeleteFunc(f.asked, func(_ string, at time.Time) bool { return time.Since(at) >= lookupAgain })
	}
	f.asked[service] = time.Now()
	f.mu.Unlock()
}

// watch follows a service until close.
func (f *follower) watch(service string) {
	f.mu.Lock()
	begin := f.registry != nil && f.enabled && !f.watched[service] && f.ctx.Err() == nil
	if begin {
		f.watched[service] = true
	}
	f.mu.Unlock()
	if begin {
		go f.run(service)
	}
}

func (f *follower) run(service string) {
	pause := firstRetry
	for f.ctx.Err() == nil {
		began := time.Now()
		err := f.follow(service)
		if f.ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRetry {
			pause = firstRetry
		}
		f.report.warnf("sealed: watch %s: %v: trying again in %v", keys.Quote(service), err, pause)
		select {
		case <-f.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastRetry)
	}
}

// follow reads one watcher until it ends.
func (f *follower) follow(service string) error {
	w, err := f.registry.Watch(registry.WatchService(service))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(f.ctx, w.Stop)
	defer func() {
		if stop() {
			w.Stop()
		}
	}()
	f.ask(service) // for what came before the watch
	for {
		if _, err := w.Next(); err != nil {
			return err
		}
	}
}
