package signed

import (
	"maps"
	"slices"
	"sync"

	"go-micro.dev/v4/registry"
)

// parts is what a registry says of several nodes at once: the endpoints and the
// metadata of a service. Their digests are made when a record is compared with
// them, so that junk costs none.
type parts struct {
	endpoints []*registry.Endpoint
	metadata  map[string]string

	state *serviceState
	once  sync.Once
	made  sums
}

// sums are the digests of parts, or why there are none.
type sums struct {
	endpoints, metadata       [digestSize]byte
	endpointsErr, metadataErr error
}

// summed is parts that verified, copied, with their digests: what comes again is
// compared and not hashed.
type summed struct {
	endpoints []*registry.Endpoint
	metadata  map[string]string
	sums      sums
}

func (p *parts) sums() *sums {
	p.once.Do(func() {
		if known := p.state.sums.Load(); known != nil {
			for _, k := range *known {
				if sameEndpoints(k.endpoints, p.endpoints) && maps.Equal(k.metadata, p.metadata) {
					p.made = k.sums
					return
				}
			}
		}
		p.made.endpoints, p.made.endpointsErr = endpointsDigest(p.endpoints)
		p.made.metadata, p.made.metadataErr = metadataDigest(p.metadata)
	})
	return &p.made
}

// vouchedEndpoints reports whether r's node was registered with these endpoints.
func (p *parts) vouchedEndpoints(r *record) bool {
	s := p.sums()
	return s.endpointsErr == nil && s.endpoints == r.endpoints
}

// vouchedMetadata is the same of service metadata.
func (p *parts) vouchedMetadata(r *record) bool {
	s := p.sums()
	return s.metadataErr == nil && s.metadata == r.metadata
}

// remember keeps the parts of an entry that verified.
func (s *serviceState) remember(p *parts, r *record) {
	if !p.vouchedEndpoints(r) || !p.vouchedMetadata(r) {
		return
	}
	var known []*summed
	if was := s.sums.Load(); was != nil {
		known = *was
	}
	if slices.ContainsFunc(known, func(k *summed) bool { return k.sums == p.made }) {
		return
	}
	own := &summed{copyEndpoints(p.endpoints), maps.Clone(p.metadata), p.made}
	next := append([]*summed{own}, known[:min(len(known), maxSummed-1)]...)
	s.sums.Store(&next)
}
