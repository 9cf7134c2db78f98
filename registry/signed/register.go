package signed

import (
	"fmt"

	"go-micro.dev/v4/registry"
)

// Register signs the nodes of s, which must be this process's, and registers them.
func (r *signedRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	l, err := r.use()
	if err != nil {
		return err
	}
	out := copyService(s)
	out.Nodes = copyNodes(s.Nodes)
	for _, node := range out.Nodes {
		parts, err := l.signer.sign(out, node, false)
		if err != nil {
			return err
		}
		carry(node, parts)
	}
	if err := l.inner.Register(out, opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
}

// Deregister takes back what Register registered.
func (r *signedRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	l, err := r.use()
	if err != nil {
		return err
	}
	out := copyService(s)
	out.Nodes = copyNodes(s.Nodes)
	if err := l.inner.Deregister(out, opts...); err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	return nil
}
