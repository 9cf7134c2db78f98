package transporttest

import (
	"errors"
	"slices"
	"sync"

	"go-micro.dev/v4/registry"
)

// books is a registry in memory. go-micro's own starts a goroutine that cannot
// be stopped, and tells no one when a service leaves.
type books struct {
	registry.Registry // nil: what is not below is not used

	mu       sync.Mutex
	services map[string]*registry.Service
	// left is closed when a service leaves, which is what a server does first
	// when it stops.
	left  chan struct{}
	leave func()
}

func newBooks() *books {
	b := &books{services: make(map[string]*registry.Service), left: make(chan struct{})}
	b.leave = sync.OnceFunc(func() { close(b.left) })
	return b
}

func (b *books) String() string { return "books" }

func (b *books) Register(s *registry.Service, _ ...registry.RegisterOption) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.services[s.Name] = s
	return nil
}

func (b *books) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.services, s.Name)
	b.leave()
	return nil
}

func (b *books) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.services[name]
	if !ok {
		return nil, registry.ErrNotFound
	}
	c := *s
	c.Nodes = slices.Clone(s.Nodes)
	return []*registry.Service{&c}, nil
}

func (b *books) Watch(...registry.WatchOption) (registry.Watcher, error) {
	return nil, errors.New("books cannot be watched")
}
