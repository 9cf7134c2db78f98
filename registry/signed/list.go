package signed

import (
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"go-micro.dev/v4/registry"
)

// maxNames is how many names are believed of a list that has no nodes.
const maxNames = 4096

// ListServices returns the services of the inner registry that have a node which
// verifies, with those nodes. Where the inner registry lists names only, as mDNS
// does, the names are returned without version and nodes: nothing vouches for them,
// so they are hints, at most 4096 of them. The error is the inner registry's, or the
// configuration's.
func (r *signedRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	l, err := r.reading()
	if err != nil {
		return nil, err
	}
	list, err := l.inner.ListServices(opts...)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return l.engine.listed(list), nil
}

// listed returns what of a list may be used.
func (e *engine) listed(list []*registry.Service) []*registry.Service {
	byName := make(map[string][]*registry.Service)
	hints := true
	for _, s := range list {
		if s != nil {
			byName[s.Name] = append(byName[s.Name], s)
			hints = hints && !hasNodes(s)
		}
	}
	out := []*registry.Service{}
	for _, s := range list {
		if s == nil || byName[s.Name] == nil {
			continue
		}
		switch {
		case !hints:
			out = append(out, assemble(s.Name, e.judge(s.Name, byName[s.Name]))...)
		case len(out) < maxNames && plausible(s.Name):
			out = append(out, &registry.Service{Name: s.Name})
		}
		byName[s.Name] = nil
	}
	return out
}

func hasNodes(s *registry.Service) bool {
	return slices.ContainsFunc(s.Nodes, func(n *registry.Node) bool { return n != nil })
}

// plausible reports whether a hint could be the name of a service, and is safe to show.
func plausible(name string) bool {
	if name == "" || len(name) > MaxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
