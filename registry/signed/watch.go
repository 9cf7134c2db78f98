package signed

import (
	"context"
	"fmt"
	"sync"

	"go-micro.dev/v4/registry"
)

// Watch returns a watcher of what verifies. It reports creations and updates of nodes
// that do, and deletions of nodes that did: those that the inner registry reports,
// and besides the end of a record, of a certificate or of trust. It reconnects when
// the inner watcher fails, and then reports an update of everything that is there,
// and the deletion of what is not. Next returns registry.ErrWatcherStopped after
// Stop, after Close of the registry, and once the context given by
// registry.WatchContext is done.
//
// A slow reader loses no change in the end: when 1024 events wait for it, further
// ones are dropped, and the state is reported anew when it has caught up.
func (r *signedRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	l, err := r.use()
	if err != nil {
		return nil, err
	}
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	inner, err := l.inner.Watch(opts...)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	w := &watcher{
		live:    l,
		opts:    opts,
		service: o.Service,
		box:     l.engine.subscribe(o.Service),
		out:     make(chan *registry.Result),
		done:    make(chan struct{}),
	}
	if !l.watching(w) {
		w.Stop()
		stopInner(inner)
		return nil, ErrClosed
	}
	if o.Context != nil {
		context.AfterFunc(o.Context, w.Stop)
	}
	go w.run(inner)
	return w, nil
}

// watcher follows one inner watcher after the other.
type watcher struct {
	live    *live
	opts    []registry.WatchOption
	service string // "" for all
	box     *mailbox
	out     chan *registry.Result
	done    chan struct{}
	once    sync.Once
}

// Next waits for the next event.
func (w *watcher) Next() (*registry.Result, error) {
	select {
	case <-w.done:
		return nil, registry.ErrWatcherStopped
	default:
	}
	select {
	case <-w.done:
		return nil, registry.ErrWatcherStopped
	case result := <-w.out:
		return result, nil
	}
}

// Stop ends the watcher. It does not wait for the inner registry.
func (w *watcher) Stop() {
	w.once.Do(func() {
		close(w.done)
		w.live.engine.unsubscribe(w.box)
		w.live.unwatch(w)
	})
}

// watching keeps w for Close, unless it has come already.
func (l *live) watching(w *watcher) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.open == nil {
		l.open = make(map[*watcher]struct{})
	}
	l.open[w] = struct{}{}
	return true
}

func (l *live) unwatch(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, w)
}

// stopWatching ends all watchers.
func (l *live) stopWatching() {
	l.mu.Lock()
	l.closed = true
	open := make([]*watcher, 0, len(l.open))
	for w := range l.open {
		open = append(open, w)
	}
	l.mu.Unlock()
	for _, w := range open {
		w.Stop()
	}
}

// stopInner stops a watcher of the inner registry, which may take its time.
func stopInner(inner registry.Watcher) { go inner.Stop() }

// trustChanged follows a change of the identity: what is not trusted any more goes,
// what was refused is looked at again, and we sign with what is new.
func (l *live) trustChanged() {
	l.engine.recheck()
	l.engine.refresh()
	l.signer.identityChanged()
}
