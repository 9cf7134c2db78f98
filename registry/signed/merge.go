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
	byVersion := make(map[string]*version)
	var versions []*version
	nodes := make([]registry.Node, len(verdicts)) // one piece of memory for all
	for i := range verdicts {
		v := &verdicts[i]
		if v.withdrawn {
			continue
		}
		to := byVersion[v.version]
		if to == nil {
			to = &version{Service: &registry.Service{Name: service, Version: v.version}}
			byVersion[v.version] = to
			versions = append(versions, to)
			out = append(out, to.Service)
		}
		nodes[i] = registry.Node{Id: v.node.Id, Address: v.node.Address, Metadata: maps.Clone(v.node.Metadata)}
		to.Nodes = append(to.Nodes, &nodes[i])
		to.common = to.common.with(v)
	}
	for _, v := range versions {
		v.Endpoints, v.Metadata = copyEndpoints(v.common.endpoints), maps.Clone(v.common.metadata)
	}
	return out
}

// version is a service that is being assembled.
type version struct {
	*registry.Service
	common *shared
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
