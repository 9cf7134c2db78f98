package signed_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/registry"
)

// board is an inner registry in the hands of an attacker. It works like those on
// etcd, Consul or NATS: one text of JSON for each node, which a later Register
// overwrites, merged by version when somebody asks.
type board struct {
	perNode bool // answers one record a service if it is asked to

	mu       sync.Mutex
	records  []pinned
	watchers []*boardWatcher
	answer   func([]*registry.Service) []*registry.Service
	err      error
}

type pinned struct{ service, node, text string }

func newBoard() *board { return &board{} }

func (b *board) Init(...registry.Option) error { return nil }
func (b *board) Options() registry.Options     { return registry.Options{} }
func (b *board) String() string                { return "board" }

func (b *board) Register(s *registry.Service, _ ...registry.RegisterOption) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	for _, n := range s.Nodes {
		b.pin(s, n)
	}
	return nil
}

func (b *board) pin(s *registry.Service, n *registry.Node) {
	one := *s
	one.Nodes = []*registry.Node{n}
	text, err := json.Marshal(one)
	if err != nil {
		panic(err)
	}
	next := pinned{s.Name, n.Id, string(text)}
	action := "create"
	if i := b.at(s.Name, n.Id); i >= 0 {
		b.records[i], action = next, "update"
	} else {
		b.records = append(b.records, next)
	}
	b.tell(action, next.text)
}

func (b *board) at(service, node string) int {
	return slices.IndexFunc(b.records, func(p pinned) bool { return p.service == service && p.node == node })
}

// Deregister deletes, and tells watchers what was there.
func (b *board) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	for _, n := range s.Nodes {
		if i := b.at(s.Name, n.Id); i >= 0 {
			was := b.records[i]
			b.records = slices.Delete(b.records, i, i+1)
			b.tell("delete", was.text)
		}
	}
	return nil
}

func (b *board) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	var o registry.GetOptions
	for _, opt := range opts {
		opt(&o)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	var out []*registry.Service
	for _, p := range b.records {
		if p.service == name {
			out = b.merge(out, unpin(p.text), b.perNode && pernode.Asked(&o))
		}
	}
	if b.answer != nil {
		out = b.answer(out)
	}
	if len(out) == 0 {
		return nil, registry.ErrNotFound
	}
	return out, nil
}

func (b *board) merge(out []*registry.Service, s *registry.Service, apart bool) []*registry.Service {
	if !apart {
		for _, was := range out {
			if was.Version == s.Version {
				was.Nodes = append(was.Nodes, s.Nodes...)
				return out
			}
		}
	}
	return append(out, s)
}

func (b *board) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	var out []*registry.Service
	for _, p := range b.records {
		out = append(out, unpin(p.text))
	}
	return out, nil
}

func unpin(text string) *registry.Service {
	var s registry.Service
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	return &s
}

// forge changes what is offered of a service. Nil puts it right again.
func (b *board) forge(f func([]*registry.Service) []*registry.Service) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

// fail has every call fail.
func (b *board) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// copies returns what is registered under a name, one service for each node.
func (b *board) copies(name string) []*registry.Service {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*registry.Service
	for _, p := range b.records {
		if p.service == name {
			out = append(out, unpin(p.text))
		}
	}
	return out
}

// one returns a copy of the only registration under a name.
func (b *board) one(t testing.TB, name string) *registry.Service {
	t.Helper()
	all := b.copies(name)
	if len(all) != 1 {
		t.Fatalf("%d registrations of %s, want 1", len(all), name)
	}
	return all[0]
}

// boardWatcher gets every event, in order.
type boardWatcher struct {
	board *board

	mu      sync.Mutex
	queue   []*registry.Result
	stopped bool
	wake    chan struct{}
}

func (b *board) Watch(...registry.WatchOption) (registry.Watcher, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	w := &boardWatcher{board: b, wake: make(chan struct{}, 1)}
	b.watchers = append(b.watchers, w)
	return w, nil
}

func (b *board) tell(action, text string) {
	for _, w := range b.watchers {
		w.push(&registry.Result{Action: action, Service: unpin(text)})
	}
}

func (w *boardWatcher) push(r *registry.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.queue = append(w.queue, r)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *boardWatcher) Next() (*registry.Result, error) {
	for {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return nil, registry.ErrWatcherStopped
		}
		if len(w.queue) > 0 {
			r := w.queue[0]
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return r, nil
		}
		w.mu.Unlock()
		<-w.wake
	}
}

func (w *boardWatcher) Stop() {
	w.mu.Lock()
	if !w.stopped {
		w.stopped = true
		close(w.wake)
	}
	w.mu.Unlock()
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	w.board.watchers = slices.DeleteFunc(w.board.watchers, func(other *boardWatcher) bool { return other == w })
}
