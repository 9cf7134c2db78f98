package sealed_test

import (
	"sync/atomic"

	"go-micro.dev/v4/registry"
)

// countingRegistry counts how often it was asked.
type countingRegistry struct {
	registry.Registry
	asked atomic.Int64
}

func (r *countingRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	r.asked.Add(1)
	return nil, registry.ErrNotFound
}

func (r *countingRegistry) Watch(...registry.WatchOption) (registry.Watcher, error) {
	return nil, registry.ErrWatcherStopped
}
