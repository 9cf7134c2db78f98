package etcd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go-micro.dev/v4/registry"
)

const limit = 1 << 20

func TestEncodeAndDecode(t *testing.T) {
	s := &registry.Service{
		Name: "greeter", Version: "1", Metadata: map[string]string{"a": "<&>"},
		Endpoints: []*registry.Endpoint{nil, {Name: "Hello", Request: &registry.Value{Name: "in", Values: []*registry.Value{nil, {Name: "x"}}}}},
		Nodes:     []*registry.Node{{Id: "1"}, nil, {Id: "2", Address: "10.0.0.2:80"}},
	}
	value, err := encode(s, s.Nodes[2], "spiffe://shop.internal/greeter", "i", limit)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode("greeter", "2", value, limit)
	if err != nil {
		t.Fatal(err)
	}
	want := &stored{
		Service: registry.Service{
			Name: "greeter", Version: "1", Metadata: map[string]string{"a": "<&>"},
			Endpoints: []*registry.Endpoint{{Name: "Hello", Request: &registry.Value{Name: "in", Values: []*registry.Value{{Name: "x", Values: nil}}}}},
			Nodes:     []*registry.Node{{Id: "2", Address: "10.0.0.2:80"}},
		},
		Owner: "spiffe://shop.internal/greeter", Instance: "i",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Nodes) != 3 || s.Endpoints[0] != nil {
		t.Error("the caller's service was changed")
	}
}

func TestEncodeRefuses(t *testing.T) {
	node := func() *registry.Node { return &registry.Node{Id: "1", Address: "10.0.0.1:80"} }
	many := make([]*registry.Endpoint, maxElements+1)
	for i := range many {
		many[i] = &registry.Endpoint{}
	}
	for _, tt := range []struct {
		name  string
		s     *registry.Service
		limit int
		want  error
	}{
		{"too large", &registry.Service{Name: "greeter", Metadata: map[string]string{"a": strings.Repeat("x", limit)}}, limit, ErrTooLarge},
		{"metadata not UTF-8", &registry.Service{Name: "greeter", Metadata: map[string]string{"a": "\xff"}}, limit, ErrInvalid},
		{"version not UTF-8", &registry.Service{Name: "greeter", Version: "\xff"}, limit, ErrInvalid},
		{"endpoint not UTF-8", &registry.Service{Name: "greeter", Endpoints: []*registry.Endpoint{{Name: "\xff"}}}, limit, ErrInvalid},
		{"too many endpoints", &registry.Service{Name: "greeter", Endpoints: many}, 8 * limit, ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := encode(tt.s, node(), "", "", tt.limit); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"nothing":           "",
		"null":              "null",
		"another type":      "[]",
		"trailing bytes":    `{"name":"greeter","nodes":[{"id":"1"}]} {}`,
		"no nodes":          `{"name":"greeter"}`,
		"null node":         `{"name":"greeter","nodes":[null]}`,
		"two nodes":         `{"name":"greeter","nodes":[{"id":"1"},{"id":"1"}]}`,
		"another service":   `{"name":"billing","nodes":[{"id":"1"}]}`,
		"another node":      `{"name":"greeter","nodes":[{"id":"2"}]}`,
		"not UTF-8":         "{\"name\":\"greeter\",\"nodes\":[{\"id\":\"1\",\"address\":\"\xff\"}]}",
		"too large":         `{"name":"greeter","nodes":[{"id":"1"}],"x":"` + strings.Repeat("x", limit) + `"}`,
		"too deep":          `{"name":"greeter","nodes":[{"id":"1"}],"endpoints":[{"request":` + strings.Repeat(`{"values":[`, 20000) + strings.Repeat(`]}`, 20000) + `}]}`,
		"many endpoints":    `{"name":"greeter","nodes":[{"id":"1"}],"endpoints":[` + strings.Repeat("{},", maxElements) + `{}]}`,
		"many values":       `{"name":"greeter","nodes":[{"id":"1"}],"endpoints":[{"response":{"values":[` + strings.Repeat("{},", maxElements) + `{}]}}]}`,
		"metadata no texts": `{"name":"greeter","metadata":{"a":{}},"nodes":[{"id":"1"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decode("greeter", "1", []byte(value), limit); err == nil {
				t.Errorf("got %+v", got)
			} else if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"greeter","version":"1","metadata":null,"endpoints":[null,{"request":{"values":[null]}}],"nodes":[{"id":"1","address":"a"},null],"owner":"o"}`))
	f.Add([]byte(`{"NAME":"greeter","Nodes":[{"ID":"1"}]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := decode("greeter", "1", value, limit)
		if err != nil {
			return
		}
		if s.Name != "greeter" || len(s.Nodes) != 1 || s.Nodes[0].Id != "1" {
			t.Fatalf("got %+v", s.Service)
		}
		for _, e := range s.Endpoints {
			if e == nil {
				t.Fatal("a nil endpoint")
			}
		}
		// What is read can be written, and is then the same.
		again, err := encode(&s.Service, s.Nodes[0], s.Owner, s.Instance, 8*limit)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := decode("greeter", "1", again, 8*limit)
		if err != nil {
			t.Fatal(err)
		}
		if last, err := encode(&twice.Service, twice.Nodes[0], twice.Owner, twice.Instance, 8*limit); err != nil || !bytes.Equal(last, again) {
			t.Errorf("%s became %s: %v", again, last, err)
		}
	})
}
