package signed

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go-micro.dev/v4/registry"
)

// Watch returns a watcher of what verifies: of one service with
// registry.WatchService, else of all. It reports changes from the moment of the call
// on, those of the inner registry and besides what that one cannot know:
//
//   - a "delete" when a record, its certificates or the revocation lists behind them
//     end, and when trust in a signer does;
//   - what a lost connection to the inner registry has hidden. The watcher connects
//     again by itself, and reports the difference between then and now;
//   - a "create" of a node that was refused until trust changed.
//
// What a consumer has not fetched yet is merged node by node, so a slow one takes no
// memory, and misses nothing but what has been overtaken. A "delete" always has
// nodes: one without would wipe the service out of go-micro's caches.
//
// Next blocks; after Stop, after Close of the registry, and once the context that
// registry.WatchContext gave is done, it returns registry.ErrWatcherStopped. The
// error of Watch is the inner registry's, or the configuration's.
func (r *signedRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	l, err := r.reading()
	if err != nil {
		return nil, err
	}
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	first, err := watchInner(l.inner, opts)
	if err != nil {
		return nil, err
	}
	w := newWatcher(l, o.Service, opts)
	if !l.watching(w) {
		w.Stop()
		go first.Stop()
		return nil, ErrClosed
	}
	if o.Context != nil {
		go func() {
			select {
			case <-o.Context.Done():
				w.Stop()
			case <-w.done: // the context may outlive the watcher, and must not keep it
			}
		}()
	}
	go w.feed(first)
	go w.run()
	return w, nil
}

// watcher joins three that wait for different things: feed for the inner registry's
// events, goroutines for its answers, and Next for the consumer. Between them is
// run, which alone decides, and waits for none of them.
type watcher struct {
	live    *live
	engine  *engine
	opts    []registry.WatchOption
	service string // "" for all

	once sync.Once
	done chan struct{}

	events chan *registry.Result // from feed
	lost   chan struct{}         // from feed: events are missing
	box    *mailbox              // from the engine
	view   view                  // to Next
	asking                       // the inner registry
	ends   time.Time             // when to look for what has ended; zero: not before box rings
}

// maxEvents is how many events wait for run. When it falls further behind they are
// dropped, and it asks the registry instead.
const maxEvents = 256

func newWatcher(l *live, service string, opts []registry.WatchOption) *watcher {
	return &watcher{
		live:    l,
		engine:  l.engine,
		opts:    opts,
		service: service,
		done:    make(chan struct{}),
		events:  make(chan *registry.Result, maxEvents),
		lost:    make(chan struct{}, 1),
		box:     l.engine.subscribe(service),
		view:    newView(),
		asking:  asking{errands: make(map[string]*errand), answers: make(chan *reading)},
	}
}

// Next waits for the next change, of nodes of one version of one service.
func (w *watcher) Next() (*registry.Result, error) {
	for {
		if w.stopped() {
			return nil, registry.ErrWatcherStopped
		}
		if action, nodes := w.view.take(); len(nodes) > 0 {
			return &registry.Result{Action: action, Service: assemble(nodes[0].service, nodes)[0]}, nil
		}
		select {
		case <-w.view.ready:
		case <-w.done:
		}
	}
}

// Stop ends the watcher. It does not wait for the inner registry.
func (w *watcher) Stop() {
	w.once.Do(func() {
		close(w.done)
		w.engine.unsubscribe(w.box)
		w.live.unwatch(w)
	})
}

func (w *watcher) stopped() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// run decides, until Stop.
func (w *watcher) run() {
	w.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.view.flush()
		w.ask()
		if at := earliest(w.ends, w.due()); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-w.done:
			return
		case result := <-w.events:
			w.event(result)
		case <-w.lost:
			w.resync()
		case <-w.box.wake:
			w.mail()
			w.expire()
		case r := <-w.answers:
			w.answered(r)
		case <-timer.C:
			if !w.ends.IsZero() && !time.Now().Before(w.ends) {
				w.expire()
			}
		}
	}
}

// earliest is the earlier of two times, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// begin takes for told what lookups have found, since the consumer may have it from
// there, and finds out the rest.
func (w *watcher) begin() {
	for _, n := range w.engine.entries(w.service) {
		if !n.left {
			w.view.put(bareMember(n), false)
		}
	}
	w.expire()
	w.want(w.service, errand{base: true, absence: true})
}

// resync has all compared with what the registry says. Events that came before go
// before, so that no older one undoes what it will answer.
func (w *watcher) resync() {
	for range len(w.events) {
		w.event(<-w.events)
	}
	w.want(w.service, errand{absence: true})
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

// trustChanged follows a change of the identity: what is not trusted any more goes,
// what was refused is looked at again, and we sign with what is new.
func (l *live) trustChanged() {
	l.engine.recheck()
	l.engine.refresh()
	l.signer.identityChanged()
}

func watchInner(inner registry.Registry, opts []registry.WatchOption) (registry.Watcher, error) {
	w, err := inner.Watch(opts...)
	if err == nil && w == nil {
		err = errors.New("the inner registry returned neither a watcher nor an error: look at the registry")
	}
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return w, nil
}
