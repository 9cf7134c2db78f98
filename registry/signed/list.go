package signed

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"go-micro.dev/v4/registry"
)

// maxNames is how many services of a list are looked at.
const maxNames = 4096

// ListServices returns the services of the inner registry that have a node which
// verifies, with those nodes. Where the inner registry lists names only, as mDNS
// does, the names are returned without version and nodes: nothing vouches for them,
// so they are hints. At most 4096 names are looked at.
func (r *signedRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	l, err := r.use()
	if err != nil {
		return nil, err
	}
	list, err := l.inner.ListServices(opts...)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	out := []*registry.Service{}
	byName := make(map[string][]*registry.Service)
	for _, s := range list {
		if s != nil {
			byName[s.Name] = append(byName[s.Name], s)
		}
	}
	for _, name := range namesOf(list) {
		answer, nodes := byName[name], 0
		for _, s := range answer {
			nodes += len(s.Nodes)
		}
		if nodes == 0 {
			out = append(out, &registry.Service{Name: name})
			continue
		}
		out = append(out, assemble(name, l.engine.judge(name, answer))...)
	}
	return out, nil
}

// namesOf returns the names in a list, each once, without those that could be none.
func namesOf(list []*registry.Service) []string {
	var names []string
	seen := make(map[string]bool)
	for _, s := range list {
		if s == nil || seen[s.Name] || !plausible(s.Name) {
			continue
		}
		if len(names) == maxNames {
			break
		}
		seen[s.Name] = true
		names = append(names, s.Name)
	}
	return names
}

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
