package etcd

import (
	"context"
	"errors"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watcher delivers changes. Its goroutine keeps a feed in step with etcd.
type watcher struct {
	r      *etcdRegistry
	set    *settings // of the time of Watch
	prefix string
	ctx    context.Context
	cancel context.CancelFunc
	feed   *feed
	done   chan struct{}

	client *clientv3.Client // the one whose revisions we know
}

// Watch returns a watcher of one service, or of all. What is registered already is
// not reported, only what changes from now on. It ends with the context that
// registry.WatchContext gave, if any.
func (r *etcdRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	var o registry.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}
	s, err := r.current()
	if err != nil {
		return nil, err
	}
	prefix := s.prefix
	if o.Service != "" {
		if err := checkName("name of the service", o.Service); err != nil {
			return nil, err
		}
		prefix = servicePrefix(s.prefix, o.Service)
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	ctx, cancel := s.within(o.Context)
	defer cancel()
	w := &watcher{r: r, set: s, prefix: prefix, done: make(chan struct{})}
	// The client comes first: if Init replaces it now, the revision is not used.
	err = r.call(ctx, "watch "+keys.Quote(prefix), func(_ context.Context, c *clientv3.Client) error {
		w.client = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	base, rev, err := r.snapshot(ctx, s, prefix)
	if err != nil {
		return nil, err
	}
	w.feed = newFeed(s.limits, base)
	w.ctx, w.cancel = context.WithCancel(o.Context)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		w.cancel()
		return nil, errClosed()
	}
	r.watchers[w] = struct{}{}
	r.wg.Go(func() { w.run(rev) })
	return w, nil
}

// Next waits for the next change. The error is registry.ErrWatcherStopped after Stop,
// after Close of the registry, and once the watcher's context has ended.
func (w *watcher) Next() (*registry.Result, error) {
	for {
		if w.ctx.Err() != nil {
			return nil, registry.ErrWatcherStopped
		}
		if result := w.feed.next(); result != nil {
			return result, nil
		}
		select {
		case <-w.feed.ready:
		case <-w.ctx.Done():
		}
	}
}

// Stop ends the watcher. It is idempotent.
func (w *watcher) Stop() {
	w.cancel()
	<-w.done
}

// run follows etcd from what is known at a revision on, and begins anew where that
// cannot be continued.
func (w *watcher) run(rev int64) {
	defer close(w.done)
	defer w.cancel()
	defer func() {
		w.r.mu.Lock()
		defer w.r.mu.Unlock()
		delete(w.r.watchers, w)
	}()
	var delay backoff
	for {
		before := rev
		err := w.follow(&rev)
		if rev != before {
			delay = backoff{}
		}
		if w.ctx.Err() != nil {
			return
		}
		s := w.set
		s.log.Warnf("etcd: the watch of %s ended and is begun anew: %v", keys.Quote(w.prefix), err)
		if !delay.wait(w.ctx) {
			return
		}
		// With a lost leader or connection etcd still knows what came after rev.
		// Otherwise only the difference can be told.
		if unavailable(err) {
			continue
		}
		ctx, cancel := s.within(w.ctx)
		records, now, err := w.r.snapshot(ctx, s, w.prefix)
		cancel()
		if err != nil {
			s.log.Warnf("etcd: no snapshot of %s: %v", keys.Quote(w.prefix), err)
			continue
		}
		w.feed.reset(records)
		rev = now
	}
}

// errEnded is the reason of a watch that gave none: Init replaced the client, and the
// new one may be of another etcd, whose revisions are others; or etcd's went back.
var errEnded = errors.New("the client was replaced, or etcd has lost data")

// follow takes in changes after *rev until that ends, and says why it did.
func (w *watcher) follow(rev *int64) error {
	c, err := w.r.connect(w.ctx)
	if err != nil {
		return err
	}
	if w.client != c {
		w.client = c
		return errEnded
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	err = errEnded
	// A response larger than a message comes in fragments.
	for resp := range w.r.follow(ctx, c, w.prefix, *rev, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithFragment()) {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, e := range resp.Events {
			w.take(e)
			*rev = e.Kv.ModRevision
		}
	}
	return err
}

// take hands one change to the feed.
func (w *watcher) take(e *clientv3.Event) {
	s := w.set
	service, id, ok := parseKey(s.prefix, string(e.Kv.Key))
	if !ok {
		return
	}
	key := nodeKey("", service, id)
	if e.Type == clientv3.EventTypePut {
		if rec, _ := s.readRecord(e.Kv); rec != nil {
			w.feed.put(key, rec)
			return
		}
		// What is there now is no record, so the one before is gone.
	}
	var before *record
	if e.PrevKv != nil {
		before, _ = s.readRecord(e.PrevKv)
	}
	w.feed.remove(key, before)
}
