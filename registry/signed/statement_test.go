package signed

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go-micro.dev/v4/registry"
	"pgregory.net/rapid"
)

const sampleSigner = "spiffe://shop.internal/greeter"

func sampleNode(modify func(*registry.Node)) *registry.Node {
	n := &registry.Node{Id: "greeter-1", Address: "10.0.0.1:8080", Metadata: map[string]string{"region": "north", "zone": "a"}}
	if modify != nil {
		modify(n)
	}
	return n
}

// TestSubjectLayout holds the encoding against bytes that were written down by hand
// from spec/registry.md.
func TestSubjectLayout(t *testing.T) {
	got, err := subject(sampleSigner, "greeter", "", sampleNode(func(n *registry.Node) { n.Metadata["signet-0"] = "x" }))
	want := "\x1e" + sampleSigner + "\x07greeter" + "\x00" + "\x09greeter-1" + "\x0d10.0.0.1:8080" +
		"\x02" + "\x06region\x05north" + "\x04zone\x01a"
	if err != nil || string(got) != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
}

// TestSubjectSame: these spellings of a node are one.
func TestSubjectSame(t *testing.T) {
	tests := map[string][2]*registry.Node{
		"no metadata":    {{Id: "1"}, {Id: "1", Metadata: map[string]string{}}},
		"only a record":  {{Id: "1"}, {Id: "1", Metadata: map[string]string{"signet-0": "x", "signet-y": "z"}}},
		"case of a host": {{Id: "1", Address: "Greeter.Shop:80"}, {Id: "1", Address: "greeter.shop.:080"}},
		"IPv6":           {{Id: "1", Address: "[2001:DB8:0:0::1]:80"}, {Id: "1", Address: "[2001:db8::1]:80"}},
		"IPv4 in IPv6":   {{Id: "1", Address: "[::ffff:10.0.0.1]:80"}, {Id: "1", Address: "10.0.0.1:80"}},
	}
	for name, nodes := range tests {
		t.Run(name, func(t *testing.T) {
			a, errA := subject(sampleSigner, "greeter", "1", nodes[0])
			b, errB := subject(sampleSigner, "greeter", "1", nodes[1])
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%q (%v) and %q (%v)", a, errA, b, errB)
			}
		})
	}
}

// names draws from few short names, so that inputs differ in where one ends rather
// than in what they hold.
func names() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01é")), 0, 3, -1)
}

func pairs() *rapid.Generator[map[string]string] { return rapid.MapOfN(names(), names(), 0, 3) }

type subjectInput struct {
	signer, service, version, id, address string
	metadata                              map[string]string
}

func drawSubject(t *rapid.T, label string) subjectInput {
	return subjectInput{
		names().Draw(t, label+" signer"), "s" + names().Draw(t, label+" service"), names().Draw(t, label+" version"),
		"i" + names().Draw(t, label+" id"), names().Draw(t, label+" address"), pairs().Draw(t, label+" metadata"),
	}
}

// TestSubjectInjective: two nodes that differ never have one encoding. An attacker
// who could find such a pair could have a record of one accepted for the other.
func TestSubjectInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encode := func(in subjectInput) []byte {
			out, err := subject(in.signer, in.service, in.version, &registry.Node{Id: in.id, Address: in.address, Metadata: in.metadata})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		a, b := drawSubject(t, "a"), drawSubject(t, "b")
		if rapid.Bool().Draw(t, "moved") { // the very case that lengths are there for
			b = a
			b.service, b.version = a.service+a.version, ""
		}
		same := a.signer == b.signer && a.service == b.service && a.version == b.version &&
			a.id == b.id && a.address == b.address && maps.Equal(a.metadata, b.metadata)
		if got := bytes.Equal(encode(a), encode(b)); got != same {
			t.Errorf("%+v and %+v: one encoding: %v", a, b, got)
		}
	})
}

// drawValue draws a value in its canonical form: none is nil.
func drawValue(t *rapid.T, label string, depth int) *registry.Value {
	v := &registry.Value{Name: names().Draw(t, label+" name"), Type: names().Draw(t, label+" type")}
	if depth > 0 {
		for i := range rapid.IntRange(0, 2).Draw(t, label+" values") {
			v.Values = append(v.Values, drawValue(t, fmt.Sprint(label, i), depth-1))
		}
	}
	return v
}

func drawEndpoints(t *rapid.T, label string) (out []*registry.Endpoint) {
	for i := range rapid.IntRange(0, 2).Draw(t, label) {
		label := fmt.Sprint(label, i)
		out = append(out, &registry.Endpoint{
			Name: names().Draw(t, label), Metadata: pairs().Draw(t, label+" metadata"),
			Request: drawValue(t, label+" request", 2), Response: drawValue(t, label+" response", 1),
		})
	}
	return out
}

func TestEndpointsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawEndpoints(t, "a"), drawEndpoints(t, "b")
		digestA, errA := endpointsDigest(a)
		digestB, errB := endpointsDigest(b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got, same := digestA == digestB, sameEndpoints(a, b); got != same {
			t.Errorf("one digest: %v; the same: %v", got, same)
		}
		// A copy, and one with what counts for nothing, have the same digest.
		loose := append(copyEndpoints(a), nil)
		for _, e := range loose[:len(a)] {
			e.Request.Values = append(e.Request.Values, nil)
			if len(e.Metadata) == 0 {
				e.Metadata = nil
			}
			if r := e.Response; r.Name == "" && r.Type == "" && len(r.Values) == 0 {
				e.Response = nil
			}
		}
		if digest, err := endpointsDigest(loose); err != nil || digest != digestA {
			t.Errorf("with nils: %v, %v", digest == digestA, err)
		}
	})
}

func TestMetadataInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := pairs().Draw(t, "a"), pairs().Draw(t, "b")
		digestA, errA := metadataDigest(a)
		digestB, errB := metadataDigest(b)
		if errA != nil || errB != nil || (digestA == digestB) != maps.Equal(a, b) {
			t.Errorf("%q (%v) and %q (%v): one digest: %v", a, errA, b, errB, digestA == digestB)
		}
	})
}

// TestDigestsDiffer: nothing is a digest of endpoints and of metadata at once.
func TestDigestsDiffer(t *testing.T) {
	endpoints, errE := endpointsDigest(nil)
	metadata, errM := metadataDigest(nil)
	if errE != nil || errM != nil || endpoints == metadata {
		t.Errorf("%x (%v) and %x (%v)", endpoints, errE, metadata, errM)
	}
}

func entries(n int) map[string]string {
	m := make(map[string]string)
	for i := range n {
		m[fmt.Sprint("key", i)] = ""
	}
	return m
}

// deep returns values of that many levels.
func deep(levels int) *registry.Value {
	v := &registry.Value{Name: "inner"}
	for range levels - 1 {
		v = &registry.Value{Values: []*registry.Value{v}}
	}
	return v
}

// TestStatementLimits: what is at a limit is signed, what is over it is not.
func TestStatementLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	node := func(service, version string, modify func(*registry.Node)) error {
		_, err := subject(sampleSigner, service, version, sampleNode(modify))
		return err
	}
	endpoints := func(e ...*registry.Endpoint) error {
		_, err := endpointsDigest(e)
		return err
	}
	metadata := func(m map[string]string) error {
		_, err := metadataDigest(m)
		return err
	}
	const context = len(metadataContext)
	tests := map[string]func(more int) error{
		"service name":    func(more int) error { return node(long(MaxName+more), "", nil) },
		"service version": func(more int) error { return node("s", long(MaxName+more), nil) },
		"node id":         func(more int) error { return node("s", "", func(n *registry.Node) { n.Id = long(MaxNodeID + more) }) },
		"address": func(more int) error {
			return node("s", "", func(n *registry.Node) { n.Address = long(MaxAddress + more) })
		},
		"node metadata in a value": func(more int) error {
			return node("s", "", func(n *registry.Node) { n.Metadata = map[string]string{"k": long(MaxNodeMetadata - 1 + more)} })
		},
		"node metadata in a key": func(more int) error {
			return node("s", "", func(n *registry.Node) { n.Metadata = map[string]string{long(MaxNodeMetadata - 1 + more): "v"} })
		},
		"entries of node metadata": func(more int) error {
			return node("s", "", func(n *registry.Node) { n.Metadata = entries(MaxMetadataKeys + more) })
		},
		"entries of node metadata with a record": func(more int) error {
			return node("s", "", func(n *registry.Node) {
				n.Metadata = entries(MaxMetadataKeys + more)
				maps.Copy(n.Metadata, manyParts(partsMost))
			})
		},
		"entries of node metadata without a signature": func(more int) error {
			// InsecureAudit lets unsigned nodes through, but none over a limit.
			return checkSizes("s", "", &registry.Node{Id: "1", Metadata: entries(MaxMetadataKeys + more)})
		},
		"record in a value": func(more int) error {
			return node("s", "", func(n *registry.Node) {
				n.Metadata = map[string]string{"signet-0": long(partsMost*(partSize+len("signet-nn")) - len("signet-0") + more)}
			})
		},
		"record in a key": func(more int) error {
			return node("s", "", func(n *registry.Node) {
				n.Metadata = map[string]string{"signet-" + long(partsMost*(partSize+len("signet-nn"))-len("signet-")+more): ""}
			})
		},
		"endpoints": func(more int) error {
			return endpoints(slices.Repeat([]*registry.Endpoint{{}}, MaxEndpoints+more)...)
		},
		"levels of a request": func(more int) error {
			return endpoints(&registry.Endpoint{Request: deep(MaxValueDepth + more)})
		},
		"levels of a response": func(more int) error {
			return endpoints(&registry.Endpoint{Response: deep(MaxValueDepth + more)})
		},
		"entries of an endpoint's metadata": func(more int) error {
			return endpoints(&registry.Endpoint{Metadata: entries(MaxMetadataKeys + more)})
		},
		"entries of service metadata": func(more int) error { return metadata(entries(MaxMetadataKeys + more)) },
		"service metadata in all": func(more int) error {
			const key = "\x01k\x00\x00" // the lengths of the value take three bytes
			return metadata(map[string]string{"k": long(MaxEndpointData - context - len(key) - 2 + 4 + more - 1)})
		},
		"endpoints in all": func(more int) error {
			// Each takes three bytes at least.
			values := slices.Repeat([]*registry.Value{{}}, MaxEndpointData/3-20+20*more)
			return endpoints(&registry.Endpoint{Request: &registry.Value{Values: values}})
		},
	}
	for name, at := range tests {
		t.Run(name, func(t *testing.T) {
			if err := at(0); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if err := at(1); !errors.Is(err, errLimit) {
				t.Errorf("over the limit: %v; want %v", err, errLimit)
			}
		})
	}
}

// TestStatementRefuses: what some backend would change on its way is not signed.
func TestStatementRefuses(t *testing.T) {
	const bad = "\xff"
	node := func(service, version string, modify func(*registry.Node)) error {
		_, err := subject(sampleSigner, service, version, sampleNode(modify))
		return err
	}
	endpoint := func(e registry.Endpoint) error {
		_, err := endpointsDigest([]*registry.Endpoint{&e})
		return err
	}
	_, metadataKey := metadataDigest(map[string]string{bad: ""})
	_, metadataValue := metadataDigest(map[string]string{"k": bad})
	tests := map[string]error{
		"no service name":          node("", "1", nil),
		"no node id":               node("s", "1", func(n *registry.Node) { n.Id = "" }),
		"UTF-8 of service name":    node(bad, "1", nil),
		"UTF-8 of service version": node("s", bad, nil),
		"UTF-8 of node id":         node("s", "1", func(n *registry.Node) { n.Id = bad }),
		"UTF-8 of address":         node("s", "1", func(n *registry.Node) { n.Address = bad }),
		"UTF-8 of metadata key":    node("s", "1", func(n *registry.Node) { n.Metadata[bad] = "" }),
		"UTF-8 of metadata value":  node("s", "1", func(n *registry.Node) { n.Metadata["k"] = bad }),
		"endpoint name":            endpoint(registry.Endpoint{Name: bad}),
		"endpoint metadata":        endpoint(registry.Endpoint{Metadata: map[string]string{"k": bad}}),
		"name of a value":          endpoint(registry.Endpoint{Request: &registry.Value{Name: bad}}),
		"type of an inner value":   endpoint(registry.Endpoint{Response: &registry.Value{Values: []*registry.Value{{Type: bad}}}}),
		"service metadata key":     metadataKey,
		"service metadata value":   metadataValue,
	}
	for name, err := range tests {
		t.Run(name, func(t *testing.T) {
			if !errors.Is(err, errMalformed) {
				t.Errorf("error %v; want %v", err, errMalformed)
			}
		})
	}
}

// TestNoDigestOfAPart: with an error there is no digest, which could be the right
// one of something shorter.
func TestNoDigestOfAPart(t *testing.T) {
	endpoints, errE := endpointsDigest([]*registry.Endpoint{{Name: "\xff"}})
	metadata, errM := metadataDigest(map[string]string{"k": "\xff"})
	var none [digestSize]byte
	if errE == nil || errM == nil || endpoints != none || metadata != none {
		t.Errorf("%x (%v), %x (%v)", endpoints, errE, metadata, errM)
	}
	if out, err := subject(sampleSigner, "s", "", &registry.Node{Id: "\xff"}); err == nil || out != nil {
		t.Errorf("%q (%v)", out, err)
	}
}

// TestEntriesTakeNoMemory: what is over the limit is not copied to find that out.
func TestEntriesTakeNoMemory(t *testing.T) {
	many := entries(100_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := metadataDigest(many)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, errLimit) || got > 256<<10 {
		t.Errorf("%d bytes, %v", got, err)
	}
}

// TestValuesInACircle: what refers to itself is too deep.
func TestValuesInACircle(t *testing.T) {
	v := new(registry.Value)
	v.Values = []*registry.Value{v, v}
	if _, err := endpointsDigest([]*registry.Endpoint{{Request: v}}); !errors.Is(err, errLimit) {
		t.Errorf("error %v; want %v", err, errLimit)
	}
}
