package signed_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

func TestUnsigned(t *testing.T) {
	t.Run("strict", func(t *testing.T) {
		s := newStage(t)
		mustRegister(t, s.inner, greeter(node("x", "10.6.6.6:1")))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		all := s.rejected.take()
		if len(all) != 1 || all[0].Reason != signed.Unsigned || all[0].Passed || all[0].Node != "x" || all[0].Service != "greeter" || all[0].Address != "10.6.6.6:1" {
			t.Errorf("got %+v", all)
		}
	})
	t.Run("audit", func(t *testing.T) {
		s := newStage(t, signed.InsecureAudit())
		mustRegister(t, s.inner, greeter(node("x", "10.6.6.6:1")))
		for range 2 {
			wantNodes(t, s.reader, "greeter", "a@"+address, "x@10.6.6.6:1")
		}
		all := s.rejected.take()
		if len(all) != 1 || all[0].Reason != signed.Unsigned || !all[0].Passed {
			t.Errorf("got %+v", all)
		}
		if bound, known := s.readerID.Directory().Bound("10.6.6.6:1"); known {
			t.Errorf("audit mode has filled the directory: %v", bound)
		}
	})
	t.Run("audit of another service", func(t *testing.T) {
		s := newStage(t, signed.InsecureAudit("billing"))
		mustRegister(t, s.inner, greeter(node("x", "10.6.6.6:1")))
		mustRegister(t, s.inner, serviceOf("billing", node("y", "10.6.6.6:2")))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		wantNodes(t, s.reader, "billing", "y@10.6.6.6:2")
	})
	t.Run("audit and over the limit", func(t *testing.T) {
		s := newStage(t, signed.InsecureAudit())
		x := node("x", "10.6.6.6:1")
		x.Metadata["big"] = strings.Repeat("y", 1<<20)
		mustRegister(t, s.inner, greeter(x))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Limit)
	})
	t.Run("audit and a verified node of the same id", func(t *testing.T) {
		s := newStage(t, signed.InsecureAudit())
		forged := greeter(node("a", "10.6.6.6:1"))
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append([]*registry.Service{forged}, was...) })
		for range 2 {
			wantNodes(t, s.reader, "greeter", "a@"+address)
		}
	})
	t.Run("audit and a withdrawal", func(t *testing.T) {
		s := newStage(t, signed.InsecureAudit())
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Withdrawn: true})
		for range 2 {
			wantNodes(t, s.reader, "greeter")
		}
	})
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	tests := []struct {
		name   string
		change func(*registry.Service)
	}{
		{"node metadata of 1 MB", func(s *registry.Service) { s.Nodes[0].Metadata["big"] = long }},
		{"metadata key of 1 MB", func(s *registry.Service) { s.Nodes[0].Metadata[long] = "" }},
		{"record of 1 MB", func(s *registry.Service) { s.Nodes[0].Metadata["signet-0"] = long }},
		{"node id of 1 MB", func(s *registry.Service) { s.Nodes[0].Id = long }},
		{"address of 1 MB", func(s *registry.Service) { s.Nodes[0].Address = long }},
		{"version of 1 MB", func(s *registry.Service) { s.Version = long }},
		{"10 000 metadata keys", func(s *registry.Service) {
			for i := range 10000 {
				s.Nodes[0].Metadata[fmt.Sprint(i)] = ""
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			forged := s.inner.one(t, "greeter")
			tt.change(forged)
			s.inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, forged) })
			wantNodes(t, s.reader, "greeter", "a@"+address)
			for _, j := range s.rejected.take() {
				if j.Reason != signed.Limit || len(j.Node) > 300 || len(j.Version) > 300 || len(j.Address) > 300 || len(j.Err.Error()) > 1000 {
					t.Errorf("got %s, with strings of %d, %d, %d and an error of %d", j.Reason, len(j.Node), len(j.Version), len(j.Address), len(j.Err.Error()))
				}
			}
		})
	}
	t.Run("service name of 1 MB", func(t *testing.T) {
		s := newStage(t)
		mustRegister(t, s.inner, serviceOf(long, node("x", address)))
		wantNodes(t, s.reader, long)
		s.rejected.want(t, signed.Limit)
	})
}

func TestNils(t *testing.T) {
	s := newStage(t)
	s.inner.forge(func(was []*registry.Service) []*registry.Service {
		was[0].Nodes = append([]*registry.Node{nil}, was[0].Nodes...)
		return append([]*registry.Service{nil, {Name: "greeter", Nodes: []*registry.Node{nil}}, {}}, was...)
	})
	wantNodes(t, s.reader, "greeter", "a@"+address)
	s.inner.forge(func(was []*registry.Service) []*registry.Service {
		was[0].Endpoints = append([]*registry.Endpoint{nil}, was[0].Endpoints...)
		was[0].Endpoints[1].Request.Values = append(was[0].Endpoints[1].Request.Values, nil)
		return was
	})
	for range 2 {
		got := mustGet(t, s.reader, "greeter")
		if len(got) != 1 || slices.Contains(got[0].Endpoints, nil) || len(got[0].Endpoints) != 1 || slices.Contains(got[0].Endpoints[0].Request.Values, nil) {
			t.Errorf("got %+v", got)
		}
	}
	s.rejected.want(t) // a nil is nothing, so nothing was changed
	if s.inner.forge(func([]*registry.Service) []*registry.Service { return []*registry.Service{nil} }); len(mustGet(t, s.reader, "greeter")) != 0 {
		t.Error("nodes out of nothing")
	}
}

func TestInvalidUTF8(t *testing.T) {
	s := newStage(t)
	s.inner.forge(func(was []*registry.Service) []*registry.Service {
		was[0].Nodes[0].Metadata["region"] = "eu\xff"
		return was
	})
	wantNodes(t, s.reader, "greeter")
	s.rejected.want(t, signed.Malformed)
}

// In one process, values may point at themselves.
func TestCyclicValues(t *testing.T) {
	s := newStage(t)
	cycle := &registry.Value{Name: "v"}
	cycle.Values = []*registry.Value{cycle, cycle, cycle}
	s.inner.forge(func(was []*registry.Service) []*registry.Service {
		was[0].Endpoints[0].Request = cycle
		return was
	})
	for range 2 {
		if got := mustGet(t, s.reader, "greeter"); len(got) != 1 || got[0].Endpoints != nil {
			t.Errorf("got %+v", got)
		}
	}
	s.rejected.want(t, signed.Endpoints)
}
