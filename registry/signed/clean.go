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
	var c copier
	for _, e := range endpoints {
		if e != nil {
			c.endpoints++
			c.count(e.Request)
			c.count(e.Response)
		}
	}
	c.slab, c.pointers = make([]registry.Value, 0, c.values), make([]*registry.Value, 0, c.inner)
	copies := make([]registry.Endpoint, 0, c.endpoints)
	out := make([]*registry.Endpoint, 0, c.endpoints)
	for _, e := range endpoints {
		if e != nil {
			copies = append(copies, registry.Endpoint{
				Name:     e.Name,
				Request:  c.copy(e.Request),
				Response: c.copy(e.Response),
				Metadata: maps.Clone(e.Metadata),
			})
			out = append(out, &copies[len(copies)-1])
		}
	}
	return out
}

// copier copies values into memory that was taken at once, since every lookup copies
// the endpoints of a service. It is for values whose digest was made, so their depth
// is bounded.
type copier struct {
	endpoints, values, inner int
	slab                     []registry.Value
	pointers                 []*registry.Value
}

func (c *copier) count(v *registry.Value) {
	if v == nil {
		return
	}
	c.values++
	for _, inner := range v.Values {
		if inner != nil {
			c.inner++
			c.count(inner)
		}
	}
}

func (c *copier) copy(v *registry.Value) *registry.Value {
	if v == nil {
		return nil
	}
	c.slab = append(c.slab, registry.Value{Name: v.Name, Type: v.Type})
	out := &c.slab[len(c.slab)-1]
	from := len(c.pointers)
	for _, inner := range v.Values {
		if inner != nil {
			c.pointers = append(c.pointers, nil)
		}
	}
	if to := len(c.pointers); to > from {
		out.Values = c.pointers[from:to:to]
	}
	at := 0
	for _, inner := range v.Values {
		if inner != nil && at < len(out.Values) {
			out.Values[at] = c.copy(inner)
			at++
		}
	}
	return out
}
