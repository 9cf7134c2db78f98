package signed

import (
	"maps"

	"go-micro.dev/v4/registry"
)

// go-micro's caches and selectors panic on a nil node or endpoint, and registries
// hand out what they and others keep. So nothing goes in or out but copies without
// nils.

func copyNode(n *registry.Node) *registry.Node {
	return &registry.Node{Id: n.Id, Address: n.Address, Metadata: maps.Clone(n.Metadata)}
}

func copyNodes(nodes []*registry.Node) []*registry.Node {
	out := make([]*registry.Node, 0, len(nodes))
	for _, n := range nodes {
		if n != nil {
			out = append(out, copyNode(n))
		}
	}
	return out
}

// copyService returns a deep copy of s without its nodes.
func copyService(s *registry.Service) *registry.Service {
	return &registry.Service{
		Name:      s.Name,
		Version:   s.Version,
		Metadata:  maps.Clone(s.Metadata),
		Endpoints: copyEndpoints(s.Endpoints),
	}
}

func copyEndpoints(endpoints []*registry.Endpoint) []*registry.Endpoint {
	if endpoints == nil {
		return nil
	}
	out := make([]*registry.Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		if e != nil {
			out = append(out, &registry.Endpoint{
				Name:     e.Name,
				Request:  copyValue(e.Request),
				Response: copyValue(e.Response),
				Metadata: maps.Clone(e.Metadata),
			})
		}
	}
	return out
}

// copyValue is for values whose digest was made, so their depth is bounded.
func copyValue(v *registry.Value) *registry.Value {
	if v == nil {
		return nil
	}
	out := &registry.Value{Name: v.Name, Type: v.Type}
	for _, inner := range v.Values {
		if inner != nil {
			out.Values = append(out.Values, copyValue(inner))
		}
	}
	return out
}
