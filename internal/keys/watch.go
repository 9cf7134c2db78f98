package keys

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a directory must be quiet before it is read again, so that a
// set that is written file by file is read once. maxSettle bounds the wait.
const (
	settle    = 50 * time.Millisecond
	maxSettle = time.Second
)

// Watcher calls a function when an identity directory may have changed, and on a
// timer besides: a directory that was itself replaced, a network file system, or a
// kernel out of watches send no events.
type Watcher struct {
	cancel context.CancelFunc
	done   chan struct{}
	events *fsnotify.Watcher // nil when there are none to be had
	once   sync.Once
}

// Watch starts watching dir. It calls check from one goroutine until Close.
// degraded is not nil if the kernel will not send events, and the timer alone is
// left.
func Watch(dir string, interval time.Duration, check func()) (w *Watcher, degraded error) {
	ctx, cancel := context.WithCancel(context.Background())
	w = &Watcher{cancel: cancel, done: make(chan struct{})}
	w.events, degraded = fsnotify.NewWatcher()
	if degraded == nil {
		degraded = w.add(dir)
	}
	if degraded != nil {
		degraded = fmt.Errorf("%s: changes are seen only every %v: %w", dir, interval, degraded)
	}
	go w.run(ctx, dir, interval, check)
	return w, degraded
}

// add watches the directory and its trust directory as they are now. Both are
// watched anew before each check: a symbolic link may lead elsewhere since.
func (w *Watcher) add(dir string) error {
	if w.events == nil {
		return nil
	}
	if err := w.events.Add(dir); err != nil {
		return err
	}
	trust := filepath.Join(dir, TrustDir)
	// Neither need be there.
	_ = w.events.Remove(trust)
	_ = w.events.Add(trust)
	return nil
}

func (w *Watcher) run(ctx context.Context, dir string, interval time.Duration, check func()) {
	defer close(w.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var changes <-chan fsnotify.Event
	var failures <-chan error
	if w.events != nil {
		changes, failures = w.events.Events, w.events.Errors
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-failures: // an overflow, for one: read everything again
		case <-changes:
			if !quiet(ctx, changes) {
				return
			}
		}
		// A failure to watch leaves the timer.
		_ = w.add(dir)
		check()
	}
}

// quiet waits until no event has come for a while, and reports false when ctx is
// done.
func quiet(ctx context.Context, changes <-chan fsnotify.Event) bool {
	last := time.NewTimer(maxSettle)
	defer last.Stop()
	for {
		still := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			still.Stop()
			return false
		case <-changes:
			still.Stop()
		case <-still.C:
			return true
		case <-last.C:
			still.Stop()
			return true
		}
	}
}

// Close stops the watcher and waits for a check that is under way. It may be
// called again.
func (w *Watcher) Close() error {
	var err error
	w.once.Do(func() {
		w.cancel()
		if w.events != nil {
			err = w.events.Close()
		}
		<-w.done
	})
	return err
}
