package signed_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

func TestRollingDeploy(t *testing.T) {
	endpoint := func(name string) *registry.Endpoint { return &registry.Endpoint{Name: name} }
	deploy := func(t *testing.T, perNode bool) ([]*registry.Service, *stage) {
		s := newStage(t)
		s.inner.perNode = perNode
		for id, names := range map[string][]string{"old": {"Hello", "Bye"}, "new": {"Hello", "Wave"}} {
			one := &registry.Service{Name: "greeter", Version: "2.0.0", Metadata: map[string]string{"team": "front", "build": id}, Nodes: []*registry.Node{node(id, address)}}
			for _, name := range names {
				one.Endpoints = append(one.Endpoints, endpoint(name))
			}
			s.forge(s.greeter, one, signed.Forgery{})
		}
		if err := s.inner.Deregister(greeter(node("a", address))); err != nil {
			t.Fatal(err)
		}
		wantNodes(t, s.reader, "greeter", "new@"+address, "old@"+address)
		got := mustGet(t, s.reader, "greeter")
		if len(got) != 1 {
			t.Fatalf("%d services of one version: go-micro's cache would lose all but the last", len(got))
		}
		return got, s
	}
	t.Run("records one by one", func(t *testing.T) {
		got, s := deploy(t, true)
		if len(got[0].Endpoints) != 1 || got[0].Endpoints[0].Name != "Hello" || !maps.Equal(got[0].Metadata, map[string]string{"team": "front"}) {
			t.Errorf("got %+v, %v, want what both have", got[0].Endpoints, got[0].Metadata)
		}
		s.rejected.want(t)
	})
	t.Run("merged by the backend", func(t *testing.T) {
		got, s := deploy(t, false)
		if len(got[0].Endpoints) != 0 || len(got[0].Metadata) != 0 {
			t.Errorf("got %+v, %v, although one of the nodes was not registered with them", got[0].Endpoints, got[0].Metadata)
		}
		s.rejected.want(t, signed.Endpoints, signed.Metadata)
	})
}

func TestVersionsApart(t *testing.T) {
	s := newStage(t)
	next := greeter(node("b", address))
	next.Version, next.Endpoints = "2.0.0", nil
	s.forge(s.greeter, next, signed.Forgery{})
	got := mustGet(t, s.reader, "greeter")
	if len(got) != 2 || len(got[0].Nodes) != 1 || len(got[1].Nodes) != 1 || got[0].Version == got[1].Version {
		t.Errorf("got %+v", got)
	}
}

// kept is an inner registry that hands out what it keeps.
type kept struct {
	registry.Registry
	services []*registry.Service
}

func (k *kept) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return k.services, nil
}

func (k *kept) String() string { return "kept" }

func TestAnswersAreCopies(t *testing.T) {
	f := newFleet(t)
	one := greeter(node("a", address))
	if err := signed.Forge(f.issue("greeter"), one, signed.Forgery{}); err != nil {
		t.Fatal(err)
	}
	inner := &kept{services: []*registry.Service{one}}
	reader := wrap(t, inner, f.issue("reader"))
	want := mustGet(t, reader, "greeter")
	spoil := func(s *registry.Service) {
		s.Name, s.Version, s.Metadata["team"] = "x", "x", "x"
		n, e := s.Nodes[0], s.Endpoints[0]
		n.Id, n.Address, n.Metadata["region"] = "x", "10.6.6.6:1", "x"
		e.Name, e.Metadata["stream"], e.Request.Name, e.Request.Values[0].Name, e.Response.Type = "x", "x", "x", "x", "x"
		s.Nodes, s.Endpoints = append(s.Nodes[:0], nil), append(s.Endpoints[:0], nil)
	}
	t.Run("spoiling an answer", func(t *testing.T) {
		for range 2 {
			spoil(mustGet(t, reader, "greeter")[0])
			if got := mustGet(t, reader, "greeter"); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got[0], want[0])
			}
		}
	})
	t.Run("spoiling what the inner registry keeps", func(t *testing.T) {
		got := mustGet(t, reader, "greeter")
		spoil(one)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got[0], want[0])
		}
		if now := mustGet(t, reader, "greeter"); len(now) != 0 {
			t.Errorf("what was spoilt passes: %+v", now[0])
		}
	})
}

// An inner registry in our own process may change what it has handed out, with all
// that is remembered of it.
func TestWhatIsRememberedIsNotShared(t *testing.T) {
	tests := []struct {
		name   string
		change func(*registry.Service)
		want   signed.Reason
	}{
		{"node metadata", func(s *registry.Service) { s.Nodes[0].Metadata["region"] = "x" }, signed.Altered},
		{"address", func(s *registry.Service) { s.Nodes[0].Address = "10.6.6.6:1" }, signed.Altered},
		{"endpoint", func(s *registry.Service) { s.Endpoints[0].Name = "x" }, signed.Endpoints},
		{"value of an endpoint", func(s *registry.Service) { s.Endpoints[0].Request.Values[0].Name = "x" }, signed.Endpoints},
		{"endpoint metadata", func(s *registry.Service) { s.Endpoints[0].Metadata["stream"] = "x" }, signed.Endpoints},
		{"service metadata", func(s *registry.Service) { s.Metadata["team"] = "x" }, signed.Metadata},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, rejected, one := newFleet(t), new(rejections), greeter(node("a", address))
			if err := signed.Forge(f.issue("greeter"), one, signed.Forgery{}); err != nil {
				t.Fatal(err)
			}
			reader := wrap(t, &kept{services: []*registry.Service{one}}, f.issue("reader"), rejected.hook())
			wantNodes(t, reader, "greeter", "a@"+address)
			tt.change(one)
			got := mustGet(t, reader, "greeter")
			rejected.want(t, tt.want)
			switch {
			case tt.want == signed.Altered && len(got) != 0:
				t.Errorf("it passes: %+v", got[0].Nodes[0])
			case tt.want == signed.Endpoints && got[0].Endpoints != nil, tt.want == signed.Metadata && got[0].Metadata != nil:
				t.Errorf("it passes: %+v", got[0])
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	bound := func(t *testing.T, s *stage, addr string, want ...string) {
		t.Helper()
		if got, _ := s.readerID.Directory().Bound(addr); !slices.Equal(got, want) {
			t.Errorf("%s is bound to %v, want %v", addr, got, want)
		}
	}
	boxKeys := func(s *stage) (keys [][]byte) {
		for _, k := range s.readerID.Directory().Keys("greeter") {
			keys = append(keys, k.Key.Bytes())
		}
		return keys
	}
	own := func(id *identity.Identity) []byte { return id.BoxKeys()[0].PublicKey().Bytes() }

	t.Run("holds what verified", func(t *testing.T) {
		s := newStage(t)
		bound(t, s, address)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		bound(t, s, address, s.greeter.ID())
		if got := boxKeys(s); len(got) != 1 || !slices.Equal(got[0], own(s.greeter)) {
			t.Errorf("box keys: got %x", got)
		}
	})
	t.Run("address moved", func(t *testing.T) {
		s := newStage(t)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.forge(s.greeter, greeter(node("a", "10.0.0.2:8000")), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@10.0.0.2:8000")
		bound(t, s, address)
		bound(t, s, "10.0.0.2:8000", s.greeter.ID())
	})
	t.Run("address renewed", func(t *testing.T) {
		s := newStage(t)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		bound(t, s, address, s.greeter.ID())
	})
	t.Run("address of two nodes", func(t *testing.T) {
		s := newStage(t)
		s.forge(s.greeter, greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address, "b@"+address)
		s.forge(s.greeter, greeter(node("b", "10.0.0.2:8000")), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address, "b@10.0.0.2:8000")
		bound(t, s, address, s.greeter.ID())
	})
	t.Run("no address", func(t *testing.T) {
		s := newStage(t)
		s.forge(s.greeter, greeter(node("b", "somewhere")), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address, "b@somewhere")
		if got := boxKeys(s); len(got) != 1 {
			t.Errorf("box keys: got %x", got)
		}
	})
	t.Run("box key of a replica that is still trusted", func(t *testing.T) {
		s := newStage(t)
		next := s.issue("greeter", identity.Renews(s.greeter)) // has the same box key
		s.forge(next, greeter(node("b", "10.0.0.2:8000")), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address, "b@10.0.0.2:8000")
		s.revoke(s.greeter)
		wantNodes(t, s.reader, "greeter", "b@10.0.0.2:8000")
		bound(t, s, address)
		if got := boxKeys(s); len(got) != 1 {
			t.Errorf("box keys: got %x, want that of the other replica", got)
		}
		s.revoke(next)
		eventually(t, "the key is taken out", func() bool { return len(boxKeys(s)) == 0 })
	})
	t.Run("box key of a predecessor", func(t *testing.T) {
		s := newStage(t)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		next := s.issue("greeter")
		s.forge(next, greeter(node("a", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		if got := boxKeys(s); len(got) != 2 {
			t.Errorf("box keys: got %x, want the old one too until its record ends", got)
		}
		s.revoke(s.greeter)
		eventually(t, "the key of a revoked signer is taken out", func() bool {
			got := boxKeys(s)
			return len(got) == 1 && slices.Equal(got[0], own(next))
		})
		bound(t, s, address, next.ID())
	})
}

// Every registration that can be made is found again as it was made.
func TestUnusualRegistrations(t *testing.T) {
	deep := &registry.Value{Name: "leaf"}
	for range 15 {
		deep = &registry.Value{Name: "v", Values: []*registry.Value{deep}}
	}
	many := make(map[string]string)
	for i := range 200 {
		many[fmt.Sprint(i)] = strings.Repeat("x", 50)
	}
	tests := []struct {
		name   string
		change func(*registry.Service)
	}{
		{"nothing but a node", func(s *registry.Service) {
			s.Metadata, s.Endpoints, s.Nodes[0].Metadata = nil, nil, nil
		}},
		{"no version", func(s *registry.Service) { s.Version = "" }},
		{"deep values", func(s *registry.Service) { s.Endpoints[0].Request = deep }},
		{"no values", func(s *registry.Service) { s.Endpoints[0].Request, s.Endpoints[0].Response = nil, nil }},
		{"nil endpoint metadata", func(s *registry.Service) { s.Endpoints[0].Metadata = nil }},
		{"much metadata", func(s *registry.Service) { s.Nodes[0].Metadata, s.Metadata = many, many }},
		{"IPv6", func(s *registry.Service) { s.Nodes[0].Address = "[2001:db8::1]:8000" }},
		{"not ASCII", func(s *registry.Service) { s.Nodes[0].Metadata["ort"] = "Zürich ☂" }},
		{"a slash in the version", func(s *registry.Service) { s.Version = "a/b" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			backends(t, func(t *testing.T, inner registry.Registry) {
				f, rejected := newFleet(t), new(rejections)
				s := greeter(node("a", address))
				tt.change(s)
				mustRegister(t, f.registry("greeter", inner), s)
				reader := f.registry("reader", inner, rejected.hook())
				for range 2 {
					got := mustGet(t, reader, "greeter")
					if len(got) != 1 || got[0].Version != s.Version || len(got[0].Endpoints) != len(s.Endpoints) || len(got[0].Metadata) != len(s.Metadata) || len(got[0].Nodes) != 1 || got[0].Nodes[0].Address != s.Nodes[0].Address {
						t.Errorf("got %+v", got)
					}
				}
				rejected.want(t)
			})
		})
	}
}
