package signed_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
	"pgregory.net/rapid"
)

var (
	texts     = rapid.StringOfN(rapid.RuneFrom([]rune("ab.-/0é☂ \x00\"<")), 0, 12, -1)
	names     = rapid.StringMatching(`[a-z][a-z0-9.-]{0,20}`)
	metadatas = rapid.MapOfN(texts, texts, 0, 8)
)

func values(depth int) *rapid.Generator[*registry.Value] {
	return rapid.Custom(func(t *rapid.T) *registry.Value {
		v := &registry.Value{Name: texts.Draw(t, "name"), Type: texts.Draw(t, "type")}
		if depth > 0 {
			v.Values = rapid.SliceOfN(rapid.OneOf(values(depth-1), rapid.Just[*registry.Value](nil)), 0, 3).Draw(t, "values")
		}
		return v
	})
}

var endpoints = rapid.Custom(func(t *rapid.T) *registry.Endpoint {
	value := rapid.OneOf(values(3), rapid.Just[*registry.Value](nil))
	return &registry.Endpoint{
		Name: texts.Draw(t, "endpoint"), Request: value.Draw(t, "request"), Response: value.Draw(t, "response"), Metadata: metadatas.Draw(t, "metadata"),
	}
})

func services(name string) *rapid.Generator[*registry.Service] {
	return rapid.Custom(func(t *rapid.T) *registry.Service {
		s := &registry.Service{
			Name: name, Version: texts.Draw(t, "version"), Metadata: metadatas.Draw(t, "metadata"),
			Endpoints: rapid.SliceOfN(endpoints, 0, 4).Draw(t, "endpoints"),
		}
		for _, id := range rapid.SliceOfNDistinct(names, 1, 5, rapid.ID).Draw(t, "node ids") {
			s.Nodes = append(s.Nodes, &registry.Node{
				Id: id, Address: fmt.Sprintf("10.0.0.%d:%d", rapid.IntRange(1, 250).Draw(t, "host"), rapid.IntRange(1, 65535).Draw(t, "port")),
				Metadata: metadatas.Draw(t, "node metadata"),
			})
		}
		return s
	})
}

// Whatever is registered is found, through every kind of backend.
func TestWhatIsRegisteredIsFound(t *testing.T) {
	f := newFleet(t)
	writer, reader := f.issue("greeter"), f.issue("reader")
	rapid.Check(t, func(rt *rapid.T) {
		s := services("greeter").Draw(rt, "service")
		var want []string
		for _, n := range s.Nodes {
			want = append(want, n.Id+"@"+n.Address)
		}
		slices.Sort(want)
		for _, inner := range []registry.Registry{newMemory(), newBoard(), &board{perNode: true}} {
			rejected := new(rejections)
			mustRegister(t, wrap(t, inner, writer), s)
			services := mustGet(t, wrap(t, inner, reader, rejected.hook()), "greeter")
			if got := nodesOf(services); !slices.Equal(got, want) {
				rt.Fatalf("%s: got %v, want %v: %v", inner, got, want, rejected.take())
			}
			if got := services[0]; len(got.Endpoints) != len(s.Endpoints) || !maps.Equal(got.Metadata, s.Metadata) {
				rt.Fatalf("%s: got %d endpoints and %v, want %d and %v", inner, len(got.Endpoints), got.Metadata, len(s.Endpoints), s.Metadata)
			}
			if all := rejected.take(); len(all) != 0 {
				rt.Fatalf("%s: %v", inner, all)
			}
		}
	})
}

// Whatever is changed is refused or removed.
func TestWhatIsChangedIsNotFound(t *testing.T) {
	f := newFleet(t)
	writer, readerID := f.issue("greeter"), f.issue("reader")
	rapid.Check(t, func(rt *rapid.T) {
		s, inner, rejected := services("greeter").Draw(rt, "service"), newBoard(), new(rejections)
		s.Nodes = s.Nodes[:1]
		mustRegister(t, wrap(t, inner, writer), s)
		reader := wrap(t, inner, readerID, rejected.hook())
		one := inner.one(t, "greeter")
		what, removed := mutate(rt, one)
		inner.forge(func([]*registry.Service) []*registry.Service { return []*registry.Service{one} })
		got := mustGet(t, reader, "greeter")
		switch all := rejected.take(); {
		case len(all) != 1:
			rt.Fatalf("%s: %d rejections, want 1: %+v", what, len(all), all)
		case removed == "" && len(got) != 0:
			rt.Fatalf("%s: the node passes", what)
		case removed != "" && (len(got) != 1 || all[0].Reason != removed):
			rt.Fatalf("%s: got %v, %s, want the node without its %s", what, got, all[0].Reason, removed)
		case removed == signed.Endpoints && got[0].Endpoints != nil, removed == signed.Metadata && got[0].Metadata != nil:
			rt.Fatalf("%s: it passes", what)
		}
	})
}

// mutate makes one change. removed is the part that has to be removed for it, if the
// node itself is to be let through.
func mutate(t *rapid.T, s *registry.Service) (what string, removed signed.Reason) {
	n := s.Nodes[0]
	other := func(was string) string {
		return rapid.StringN(0, 20, 40).Filter(func(v string) bool { return v != was }).Draw(t, "other")
	}
	changeMap := func(m map[string]string) {
		keys := slices.Sorted(maps.Keys(m))
		if len(keys) == 0 || rapid.Bool().Draw(t, "add") {
			key := rapid.StringMatching(`new[a-z]{1,5}`).Draw(t, "key")
			m[key] = texts.Draw(t, "value")
			return
		}
		key := rapid.SampledFrom(keys).Draw(t, "key")
		if rapid.Bool().Draw(t, "remove") {
			delete(m, key)
		} else {
			m[key] = other(m[key])
		}
	}
	switch what = rapid.SampledFrom([]string{"version", "node id", "address", "node metadata", "endpoints", "service metadata"}).Draw(t, "what"); what {
	case "version":
		s.Version = other(s.Version)
	case "node id":
		n.Id = other(n.Id)
	case "address":
		n.Address = other(n.Address)
	case "node metadata":
		changeMap(n.Metadata)
	case "service metadata":
		if s.Metadata == nil {
			s.Metadata = make(map[string]string)
		}
		changeMap(s.Metadata)
		if len(s.Metadata) == 0 { // there is nothing left to be removed
			s.Metadata["x"] = "y"
		}
		removed = signed.Metadata
	case "endpoints":
		s.Endpoints = append(s.Endpoints, &registry.Endpoint{Name: "added"})
		if i := rapid.IntRange(0, len(s.Endpoints)-1).Draw(t, "which"); i < len(s.Endpoints)-1 {
			s.Endpoints = s.Endpoints[:len(s.Endpoints)-1]
			s.Endpoints[i].Name = other(s.Endpoints[i].Name)
		}
		removed = signed.Endpoints
	}
	return what, removed
}
