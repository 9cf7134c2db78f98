package etcd

import (
	"cmp"
	"slices"

	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/registry"
)

// GetService returns the service, one for each version, as a majority of etcd knows
// it. Endpoints and metadata of a version are those of the node that was written
// last. What somebody put there that is no record is skipped and logged. The error is
// registry.ErrNotFound if nothing is left.
func (r *etcdRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	var o registry.GetOptions
	for _, opt := range opts {
		opt(&o)
	}
	s, err := r.current()
	if err != nil {
		return nil, err
	}
	if err := checkName("name of the service", name); err != nil {
		return nil, err
	}
	ctx, cancel := s.within(o.Context)
	defer cancel()
	records, _, err := r.snapshot(ctx, s, servicePrefix(s.prefix, name))
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, registry.ErrNotFound
	}
	if pernode.Asked(&o) {
		return each(records), nil
	}
	return merge(records), nil
}

// ListServices returns all services under the prefix, sorted by name and version,
// merged as GetService does. There may be none.
func (r *etcdRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	var o registry.ListOptions
	for _, opt := range opts {
		opt(&o)
	}
	s, err := r.current()
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.within(o.Context)
	defer cancel()
	records, _, err := r.snapshot(ctx, s, s.prefix)
	if err != nil {
		return nil, err
	}
	return merge(records), nil
}

// each makes one service of each record.
func each(records []*record) []*registry.Service {
	services := make([]*registry.Service, 0, len(records))
	for _, rec := range records {
		if s := rec.decode(); s != nil {
			services = append(services, &s.Service)
		}
	}
	return services
}

// merge makes one service of the records of each version, sorted.
func merge(records []*record) []*registry.Service {
	type versionKey struct{ name, version string }
	merged := map[versionKey]*registry.Service{}
	newest := map[versionKey]int64{}
	list := []*registry.Service{}
	for _, rec := range records {
		s := rec.decode()
		if s == nil {
			continue
		}
		k := versionKey{s.Name, s.Version}
		have := merged[k]
		if have == nil {
			merged[k], newest[k] = &s.Service, rec.rev
			list = append(list, &s.Service)
			continue
		}
		have.Nodes = append(have.Nodes, s.Nodes...)
		if rec.rev > newest[k] {
			newest[k] = rec.rev
			have.Endpoints, have.Metadata = s.Endpoints, s.Metadata
		}
	}
	slices.SortFunc(list, func(a, b *registry.Service) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return list
}
