package signed

import (
	"fmt"

	"go-micro.dev/v4/registry"
)

// Watch returns a watcher of what verifies.
func (r *signedRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	l, err := r.use()
	if err != nil {
		return nil, err
	}
	inner, err := l.inner.Watch(opts...)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return &watcher{inner: inner, engine: l.engine}, nil
}

type watcher struct {
	inner  registry.Watcher
	engine *engine
}

func (w *watcher) Next() (*registry.Result, error) {
	for {
		result, err := w.inner.Next()
		if err != nil {
			return nil, err
		}
		if result == nil || result.Service == nil {
			continue
		}
		for _, s := range assemble(result.Service.Name, w.engine.judge(result.Service.Name, []*registry.Service{result.Service})) {
			return &registry.Result{Action: result.Action, Service: s}, nil
		}
	}
}

func (w *watcher) Stop() { w.inner.Stop() }

// trustChanged follows a change of the identity.
func (l *live) trustChanged() {
	l.engine.recheck()
	l.signer.identityChanged()
}
