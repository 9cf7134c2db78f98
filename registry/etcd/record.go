package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
)

// maxElements bounds endpoints, values and metadata entries of one record, because
// two bytes of JSON can become a hundred in memory.
const maxElements = 1 << 15

// elementSize is about what one of them takes in memory, if next to nothing in JSON.
const elementSize = 64

// stored is the value of a key.
type stored struct {
	registry.Service
	// Owner is the SPIFFE ID of who registered the node, if it has one.
	Owner string `json:"owner,omitempty"`
	// Instance tells one process from an earlier one of the same owner.
	Instance string `json:"instance,omitempty"`
}

// address of the record's node.
func (s *stored) address() string { return s.Nodes[0].Address }

// encode makes the value for one node of a service.
func encode(s *registry.Service, node *registry.Node, owner, instance string, limit int) ([]byte, error) {
	one := stored{Service: *s, Owner: owner, Instance: instance}
	one.Nodes = []*registry.Node{node}
	one.Endpoints = withoutNil(s.Endpoints)
	if !validText(&one.Service) {
		return nil, fmt.Errorf("etcd: %w: %s has text that is not UTF-8 and would be changed: encode it", ErrInvalid, keys.Quote(s.Name))
	}
	value, err := json.Marshal(&one)
	if err != nil {
		return nil, fmt.Errorf("etcd: encode %s: %w", keys.Quote(s.Name), err)
	}
	if len(value) > limit {
		return nil, fmt.Errorf("etcd: %w: that of %s has %d bytes, at most %d are allowed: register less metadata, or raise etcd.Limits.Record", ErrTooLarge, keys.Quote(s.Name), len(value), limit)
	}
	// Others would skip what decode refuses.
	if _, err := decode(s.Name, node.Id, value, limit); err != nil {
		return nil, fmt.Errorf("etcd: %w: %s: %w", ErrInvalid, keys.Quote(s.Name), err)
	}
	return value, nil
}

// decode reads a value that was found at the key of a service's node. It returns
// only what is whole: one node, no nil elements, and the names of its key.
func decode(service, id string, value []byte, limit int) (*stored, error) {
	s, _, err := decodeCount(service, id, value, limit)
	return s, err
}

// decodeCount is decode, and counts endpoints, values and metadata entries.
func decodeCount(service, id string, value []byte, limit int) (found *stored, elements int, err error) {
	if len(value) > limit {
		return nil, 0, fmt.Errorf("it has %d bytes, more than %d", len(value), limit)
	}
	if !utf8.Valid(value) {
		return nil, 0, errors.New("it is not UTF-8")
	}
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, 0, fmt.Errorf("it is not a service in JSON: %s", keys.Quote(err.Error()))
	}
	nodes := withoutNil(s.Nodes)
	if len(nodes) != 1 {
		return nil, 0, fmt.Errorf("it has %d nodes, not one", len(nodes))
	}
	if s.Name != service || nodes[0].Id != id {
		return nil, 0, fmt.Errorf("it is of node %s of %s, not of its key's", keys.Quote(nodes[0].Id), keys.Quote(s.Name))
	}
	s.Nodes, s.Endpoints = nodes, withoutNil(s.Endpoints)
	left := maxElements - len(s.Metadata) - len(nodes[0].Metadata)
	for _, e := range s.Endpoints {
		left -= 1 + len(e.Metadata)
		clean(e.Request, &left)
		clean(e.Response, &left)
	}
	if left < 0 {
		return nil, 0, fmt.Errorf("it has more than %d endpoints, values and metadata entries", maxElements)
	}
	return &s, maxElements - left, nil
}

// clean takes nil values out of v and counts those that stay.
func clean(v *registry.Value, left *int) {
	if v == nil || *left < 0 {
		return
	}
	*left--
	v.Values = withoutNil(v.Values)
	for _, inner := range v.Values {
		clean(inner, left)
	}
}

// withoutNil returns the elements that are there, in a new slice.
func withoutNil[T any](list []*T) []*T {
	if list == nil {
		return nil
	}
	kept := make([]*T, 0, len(list))
	for _, e := range list {
		if e != nil {
			kept = append(kept, e)
		}
	}
	return kept
}

// validText reports whether JSON keeps the texts of a service as they are.
func validText(s *registry.Service) bool {
	ok := utf8.ValidString(s.Version) && utf8.ValidString(s.Nodes[0].Address) &&
		validMap(s.Metadata) && validMap(s.Nodes[0].Metadata)
	for _, e := range s.Endpoints {
		ok = ok && utf8.ValidString(e.Name) && validMap(e.Metadata)
	}
	return ok
}

func validMap(m map[string]string) bool {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return true
}
