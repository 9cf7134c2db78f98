package signed_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// observer fetches what a watcher tells, and keeps it.
type observer struct {
	watcher registry.Watcher
	ended   chan error

	mu  sync.Mutex
	all []*registry.Result
}

// observe watches until the end of the test.
func observe(t testing.TB, r registry.Registry, opts ...registry.WatchOption) *observer {
	t.Helper()
	w, err := r.Watch(opts...)
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	o := &observer{watcher: w, ended: make(chan error, 1)}
	go func() {
		for {
			result, err := w.Next()
			if err != nil {
				o.ended <- err
				return
			}
			o.mu.Lock()
			o.all = append(o.all, result)
			o.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		w.Stop()
		if err := <-o.ended; !errors.Is(err, registry.ErrWatcherStopped) {
			t.Errorf("Next after Stop: %v, want registry.ErrWatcherStopped", err)
		}
	})
	return o
}

// take returns what was told, and begins anew: "create 1.2.3 a@10.0.0.1:8000 …".
func (o *observer) take() []string {
	var out []string
	for _, r := range o.results() {
		out = append(out, told(r))
	}
	return out
}

func (o *observer) results() []*registry.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.all
	o.all = nil
	return out
}

func told(r *registry.Result) string {
	nodes := nodesOf([]*registry.Service{r.Service})
	return strings.Join(append([]string{r.Action, r.Service.Version}, nodes...), " ")
}

// want compares what was told, once nothing is left to do, with what should have
// been. It is for bubbles.
func (o *observer) want(t testing.TB, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := o.take(); !slices.Equal(got, want) {
		t.Errorf("told:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// push sends watchers what nobody has registered.
func (b *board) push(results ...*registry.Result) {
	b.mu.Lock()
	watchers := slices.Clone(b.watchers)
	b.mu.Unlock()
	for _, w := range watchers {
		for _, r := range results {
			w.push(r)
		}
	}
}

// cut ends the watches that there are.
func (b *board) cut() {
	b.mu.Lock()
	watchers := slices.Clone(b.watchers)
	b.mu.Unlock()
	for _, w := range watchers {
		w.Stop()
	}
}

// lose deletes a node and tells nobody.
func (b *board) lose(service, node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.at(service, node); i >= 0 {
		b.records = slices.Delete(b.records, i, i+1)
	}
}

func event(action string, s *registry.Service) *registry.Result {
	return &registry.Result{Action: action, Service: s}
}

// many returns n nodes.
func many(n int) (nodes []*registry.Node) {
	for i := range n {
		nodes = append(nodes, node(fmt.Sprintf("n%05d", i), fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)))
	}
	return nodes
}

// settle is longer than a registry that recreates nodes is given for it.
const settle = time.Second

// sleep lets the time of a bubble pass.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// keeper is a board that works like go-micro's memory registry: it keeps the first
// registration of a node, and tells watchers of a deletion what Deregister was given.
type keeper struct{ *board }

func newKeeper() keeper { return keeper{newBoard()} }

func (k keeper) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	var fresh []*registry.Node
	k.mu.Lock()
	for _, n := range s.Nodes {
		if k.at(s.Name, n.Id) < 0 {
			fresh = append(fresh, n)
		}
	}
	k.mu.Unlock()
	one := *s
	one.Nodes = fresh
	return k.board.Register(&one, opts...)
}

func (k keeper) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	for _, n := range s.Nodes {
		k.lose(s.Name, n.Id)
	}
	k.push(event("delete", s))
	return nil
}

// replace takes over what another board holds, and tells nobody.
func (b *board) replace(other *board) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = slices.Clone(other.records)
}

func closeRegistry(t testing.TB, r registry.Registry) {
	t.Helper()
	if err := r.(io.Closer).Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func mustDeregister(t testing.TB, r registry.Registry, s *registry.Service) {
	t.Helper()
	if err := r.Deregister(s); err != nil {
		t.Fatalf("Deregister: %v", err)
	}
}

// wantBound compares who is bound to an address.
func wantBound(t testing.TB, id *identity.Identity, address string, want ...string) {
	t.Helper()
	if got, _ := id.Directory().Bound(address); !slices.Equal(got, want) {
		t.Errorf("bound to %s: %v, want %v", address, got, want)
	}
}
