package signed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// Limits of what a registration may hold, in bytes where nothing else is said.
// What a registry says is measured against them before it is looked at.
const (
	MaxName         = 255     // of a service, and of a version
	MaxNodeID       = 255     // of a node's ID
	MaxAddress      = 300     // of a node's address
	MaxNodeMetadata = 16384   // of a node's metadata, keys and values, without the record
	MaxMetadataKeys = 256     // entries of one map of metadata
	MaxEndpoints    = 1024    // endpoints of a service
	MaxEndpointData = 1 << 20 // of a service's endpoints, or of its metadata, as encoded
	MaxValueDepth   = 16      // levels of values in an endpoint
)

// The digests of a service's endpoints and metadata begin with these.
const (
	endpointsContext = "signet/registry-endpoints/v1\x00"
	metadataContext  = "signet/registry-metadata/v1\x00"
)

// statement encodes what is signed or digested: strings and lists after their
// length or number as unsigned LEB128, maps as lists of pairs sorted by the bytes
// of their keys. Nothing is put that is not valid UTF-8, because backends that
// speak JSON would change it.
type statement struct {
	out  []byte
	most int
	err  error
}

func (s *statement) number(n int) { s.out = binary.AppendUvarint(s.out, uint64(n)) }

func (s *statement) string(what, v string) {
	switch {
	case s.err != nil:
	case len(v) > s.most-len(s.out): // never a sum, which 32 bits may not hold
		s.err = fmt.Errorf("%w: %s: more than %d bytes in all", errLimit, what, s.most)
	case !utf8.ValidString(v):
		s.err = fmt.Errorf("%w: %s is not valid UTF-8", errMalformed, what)
	default:
		s.out = appendSized(s.out, v)
	}
}

func (s *statement) strings(what string, m map[string]string, skip func(key string) bool) {
	if s.err != nil {
		return
	}
	sorted := make([]string, 0, min(len(m), MaxMetadataKeys))
	for key := range m {
		switch {
		case skip != nil && skip(key):
		case len(sorted) == MaxMetadataKeys:
			s.fail("%w: %s: more than %d entries", errLimit, what, MaxMetadataKeys)
			return
		default:
			sorted = append(sorted, key)
		}
	}
	slices.Sort(sorted)
	s.number(len(sorted))
	for _, key := range sorted {
		s.string(what, key)
		s.string(what, m[key])
	}
}

func (s *statement) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// digest returns none with an error, lest a digest of a part be taken for one of
// the whole.
func (s *statement) digest() (digest [digestSize]byte, err error) {
	if s.err != nil {
		return digest, s.err
	}
	return sha256.Sum256(s.out), nil
}

// value encodes a value. A value that is not there is an empty one: go-micro's
// memory registry makes no difference, and neither do those that read it.
func (s *statement) value(v *registry.Value, depth int) {
	switch {
	case s.err != nil:
		return
	case depth > MaxValueDepth:
		s.fail("%w: endpoints: values of more than %d levels", errLimit, MaxValueDepth)
		return
	case v == nil:
		v = new(registry.Value)
	}
	s.string("endpoints", v.Name)
	s.string("endpoints", v.Type)
	present := 0
	for _, inner := range v.Values {
		if inner != nil {
			present++
		}
	}
	s.number(present)
	for _, inner := range v.Values {
		if inner != nil {
			s.value(inner, depth+1)
		}
	}
}

// endpointsDigest returns the digest of a service's endpoints, in their order.
func endpointsDigest(endpoints []*registry.Endpoint) (digest [digestSize]byte, err error) {
	s := statement{out: []byte(endpointsContext), most: MaxEndpointData}
	present := 0
	for _, e := range endpoints {
		if e != nil {
			present++
		}
	}
	if present > MaxEndpoints {
		return digest, fmt.Errorf("%w: %d endpoints: at most %d", errLimit, present, MaxEndpoints)
	}
	s.number(present)
	for _, e := range endpoints {
		if e == nil {
			continue
		}
		s.string("endpoints", e.Name)
		s.value(e.Request, 1)
		s.value(e.Response, 1)
		s.strings("endpoints", e.Metadata, nil)
	}
	return s.digest()
}

// metadataDigest returns the digest of a service's metadata.
func metadataDigest(metadata map[string]string) (digest [digestSize]byte, err error) {
	s := statement{out: []byte(metadataContext), most: MaxEndpointData}
	s.strings("service metadata", metadata, nil)
	return s.digest()
}

// subject returns what a record says of a node and does not carry itself, since
// the registration has it: the second signed field, after the header.
//
//	signer ID ‖ service name ‖ service version ‖ node ID ‖ address ‖ node metadata
//
// The address is in its canonical form, or as it is if it is no host:port. The
// signer's ID is there although the leaf names it, so that a certificate with the
// same key and another name cannot take its place.
func subject(signer, service, version string, node *registry.Node) ([]byte, error) {
	if err := checkSizes(service, version, node); err != nil {
		return nil, err
	}
	address, err := identity.CanonicalAddress(node.Address)
	if err != nil {
		address = node.Address
	}
	const others = 4096 // names, address and the lengths of it all
	s := statement{out: make([]byte, 0, 512), most: MaxNodeMetadata + others}
	s.string("signer", signer)
	s.string("service name", service)
	s.string("service version", version)
	s.string("node id", node.Id)
	s.string("address", address)
	s.strings("node metadata", node.Metadata, reserved)
	if s.err != nil {
		return nil, s.err
	}
	return s.out, nil
}

// checkSizes measures a node before anything else is done with it.
func checkSizes(service, version string, node *registry.Node) error {
	over := func(what string, size int64, most int) error {
		return fmt.Errorf("%w: %s of %d bytes: at most %d", errLimit, what, size, most)
	}
	switch {
	case len(service) > MaxName:
		return over("a service name", int64(len(service)), MaxName)
	case len(version) > MaxName:
		return over("a service version", int64(len(version)), MaxName)
	case len(node.Id) > MaxNodeID:
		return over("a node id", int64(len(node.Id)), MaxNodeID)
	case len(node.Address) > MaxAddress:
		return over("an address", int64(len(node.Address)), MaxAddress)
	case service == "" || node.Id == "":
		return fmt.Errorf("%w: a node without a service name or an id", errMalformed)
	}
	const mostOurs = partsMost * (len(partPrefix) + 2 + partSize)
	var plain, ours int64 // the sum of two lengths may not fit in 32 bits
	entries := 0
	for key, value := range node.Metadata {
		if reserved(key) {
			ours += int64(len(key)) + int64(len(value))
		} else {
			plain += int64(len(key)) + int64(len(value))
			entries++
		}
	}
	if entries > MaxMetadataKeys {
		return fmt.Errorf("%w: %d entries of node metadata: at most %d", errLimit, entries, MaxMetadataKeys)
	}
	if plain > MaxNodeMetadata {
		return over("node metadata", plain, MaxNodeMetadata)
	}
	if ours > int64(mostOurs) {
		return over("a record", ours, mostOurs)
	}
	return nil
}
