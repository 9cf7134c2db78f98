package signed

import (
	"fmt"

	"go-micro.dev/v4/registry"
)

// ListServices returns the services of the inner registry that have a node which
// verifies, with those nodes.
func (r *signedRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	l, err := r.use()
	if err != nil {
		return nil, err
	}
	answer, err := l.inner.ListServices(opts...)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	out := []*registry.Service{}
	for _, s := range answer {
		if s != nil {
			out = append(out, assemble(s.Name, l.engine.judge(s.Name, []*registry.Service{s}))...)
		}
	}
	return out, nil
}
