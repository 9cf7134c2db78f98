package signed

import (
	"maps"
	"slices"

	"go-micro.dev/v4/registry"
)

// assemble makes go-micro's form of an answer: one service for each version, with
// copies of its nodes. Its endpoints and metadata are those that each of the nodes
// was registered with; if some registry merged away what a node was registered
// with, there are none. (Two services of one version would be more exact, but
// go-micro's cache finds only the last of them when a node is deleted.)
func assemble(service string, verdicts []verdict) []*registry.Service {
	out := []*registry.Service{} // not nil: an empty answer is an answer
	for len(verdicts) > 0 {
		version := verdicts[0].version
		s := &registry.Service{Name: service, Version: version}
		var common *shared
		rest := verdicts[:0:0]
		nodes := make([]registry.Node, 0, len(verdicts))
		for i := range verdicts {
			v := &verdicts[i]
			switch {
			case v.withdrawn:
			case v.version != version:
				rest = append(rest, *v)
			default:
				nodes = append(nodes, registry.Node{Id: v.node.Id, Address: v.node.Address, Metadata: maps.Clone(v.node.Metadata)})
				common = common.with(v)
			}
		}
		verdicts = rest
		if len(nodes) == 0 {
			continue
		}
		for i := range nodes {
			s.Nodes = append(s.Nodes, &nodes[i])
		}
		s.Endpoints, s.Metadata = copyEndpoints(common.endpoints), maps.Clone(common.metadata)
		out = append(out, s)
	}
	return out
}

// shared is what some nodes of a version have in common.
type shared struct {
	sums      *sums // if both are all that the nodes were registered with
	endpoints []*registry.Endpoint
	metadata  map[string]string
}

// with returns what s has in common with one more node.
func (s *shared) with(v *verdict) *shared {
	next := new(shared)
	sums := v.part.sums()
	endpoints, metadata := sums.endpointsErr == nil, sums.metadataErr == nil
	if v.entry != nil { // else there is nothing to hold them against
		endpoints, metadata = v.part.vouchedEndpoints(v.entry.record), v.part.vouchedMetadata(v.entry.record)
	}
	if endpoints && metadata {
		if s != nil && s.sums != nil && *s.sums == *sums {
			return s
		}
		next.sums = sums
	}
	if endpoints {
		next.endpoints = v.part.endpoints
	}
	if metadata {
		next.metadata = v.part.metadata
	}
	if s == nil {
		return next
	}
	return &shared{
		endpoints: commonEndpoints(s.endpoints, next.endpoints),
		metadata:  commonMetadata(s.metadata, next.metadata),
	}
}

func commonEndpoints(a, b []*registry.Endpoint) []*registry.Endpoint {
	if sameEndpoints(a, b) { // as they mostly are, and then it costs little
		return a
	}
	var out []*registry.Endpoint
	for _, e := range a {
		if e != nil && slices.ContainsFunc(b, func(other *registry.Endpoint) bool { return sameEndpoint(e, other) }) {
			out = append(out, e)
		}
	}
	return out
}

func commonMetadata(a, b map[string]string) map[string]string {
	if a == nil || b == nil {
		return nil
	}
	out := make(map[string]string)
	for key, value := range a {
		if other, ok := b[key]; ok && other == value {
			out[key] = value
		}
	}
	return out
}

// sameEndpoints compares what was seen, a, with what is offered, b. It goes no
// deeper than a does.
func sameEndpoints(a, b []*registry.Endpoint) bool {
	return slices.EqualFunc(a, b, sameEndpoint)
}

func sameEndpoint(a, b *registry.Endpoint) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && sameValue(a.Request, b.Request) && sameValue(a.Response, b.Response) && maps.Equal(a.Metadata, b.Metadata)
}

func sameValue(a, b *registry.Value) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && a.Type == b.Type && slices.EqualFunc(a.Values, b.Values, sameValue)
}
