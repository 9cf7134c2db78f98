package signed_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

const address = "10.0.0.1:8000"

// stage is an inner registry in the hands of an attacker, with one honest node of
// greeter, and a reader that has seen nothing yet.
type stage struct {
	*fleet
	inner    *board
	greeter  *identity.Identity
	reader   registry.Registry
	readerID *identity.Identity
	rejected *rejections
}

func newStage(t *testing.T, opts ...registry.Option) *stage {
	t.Helper()
	s := &stage{fleet: newFleet(t), inner: newBoard(), rejected: new(rejections)}
	s.greeter, s.readerID = s.issue("greeter"), s.issue("reader")
	mustRegister(t, wrap(t, s.inner, s.greeter, signed.PostQuantum()), greeter(node("a", address)))
	s.reader = wrap(t, s.inner, s.readerID, append(opts, s.rejected.hook())...)
	return s
}

// forge signs s as id, with what is not as it should be, and pins it to the board.
func (s *stage) forge(id *identity.Identity, service *registry.Service, f signed.Forgery) *registry.Service {
	s.t.Helper()
	if err := signed.Forge(id, service, f); err != nil {
		s.t.Fatal(err)
	}
	mustRegister(s.t, s.inner, service)
	return service
}

// change changes the one registration of greeter behind its back.
func (s *stage) change(t *testing.T, change func(*registry.Service)) {
	t.Helper()
	one := s.inner.one(t, "greeter")
	before := one.Name + "\x00" + one.Nodes[0].Id
	change(one)
	if one.Name+"\x00"+one.Nodes[0].Id != before {
		if err := s.inner.Deregister(greeter(node("a", address))); err != nil {
			t.Fatal(err)
		}
	}
	mustRegister(t, s.inner, one)
}

func TestChangedFields(t *testing.T) {
	metadata := func(change func(map[string]string)) func(*registry.Service) {
		return func(s *registry.Service) { change(s.Nodes[0].Metadata) }
	}
	tests := []struct {
		name   string
		change func(*registry.Service)
		want   signed.Reason
	}{
		{"version", func(s *registry.Service) { s.Version = "1.2.4" }, signed.Altered},
		{"node id", func(s *registry.Service) { s.Nodes[0].Id = "b" }, signed.Altered},
		{"address", func(s *registry.Service) { s.Nodes[0].Address = "10.6.6.6:8000" }, signed.Altered},
		{"port", func(s *registry.Service) { s.Nodes[0].Address = "10.0.0.1:8001" }, signed.Altered},
		{"no address", func(s *registry.Service) { s.Nodes[0].Address = "" }, signed.Altered},
		{"node metadata changed: protocol", metadata(func(m map[string]string) { m["protocol"] = "grpc" }), signed.Altered},
		{"node metadata changed: server", metadata(func(m map[string]string) { m["server"] = "" }), signed.Altered},
		{"node metadata changed: region", metadata(func(m map[string]string) { m["region"] = "us-1" }), signed.Altered},
		{"node metadata added", metadata(func(m map[string]string) { m["admin"] = "true" }), signed.Altered},
		{"node metadata removed", metadata(func(m map[string]string) { delete(m, "region") }), signed.Altered},
		{"node metadata renamed", metadata(func(m map[string]string) { m["Region"] = m["region"]; delete(m, "region") }), signed.Altered},
		{"record removed", metadata(func(m map[string]string) { strip(m) }), signed.Unsigned},
		{"first part removed", metadata(func(m map[string]string) { delete(m, "signet-0") }), signed.Malformed},
		{"part added", metadata(func(m map[string]string) { m["signet-9"] = "AAAA" }), signed.Malformed},
		{"part of another name added", metadata(func(m map[string]string) { m["signet-x"] = "" }), signed.Malformed},
		{"part shortened", metadata(func(m map[string]string) { m["signet-0"] = m["signet-0"][1:] }), signed.Malformed},
		{"parts exchanged", metadata(func(m map[string]string) { m["signet-0"], m["signet-1"] = m["signet-1"], m["signet-0"] }), signed.Malformed},
		{"invalid UTF-8", metadata(func(m map[string]string) { m["region"] = "eu\ufffd" }), signed.Altered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.change(t, tt.change)
			wantNodes(t, s.reader, "greeter")
			s.rejected.want(t, tt.want)
			if bound, known := s.readerID.Directory().Bound(address); known {
				t.Errorf("the directory binds %v", bound)
			}
		})
	}
}

func strip(metadata map[string]string) {
	for key := range metadata {
		if strings.HasPrefix(key, "signet-") {
			delete(metadata, key)
		}
	}
}

func TestChangedEndpointsAndServiceMetadataAreStripped(t *testing.T) {
	tests := []struct {
		name   string
		change func(*registry.Service)
		want   signed.Reason
	}{
		{"endpoint renamed", func(s *registry.Service) { s.Endpoints[0].Name = "Greeter.Admin" }, signed.Endpoints},
		{"endpoint added", func(s *registry.Service) {
			s.Endpoints = append(s.Endpoints, &registry.Endpoint{Name: "Greeter.Admin"})
		}, signed.Endpoints},
		{"endpoint metadata", func(s *registry.Service) { s.Endpoints[0].Metadata["stream"] = "true" }, signed.Endpoints},
		{"request type", func(s *registry.Service) { s.Endpoints[0].Request.Type = "int" }, signed.Endpoints},
		{"request value", func(s *registry.Service) { s.Endpoints[0].Request.Values[0].Name = "x" }, signed.Endpoints},
		{"response removed", func(s *registry.Service) { s.Endpoints[0].Response = nil }, signed.Endpoints},
		{"deep values", func(s *registry.Service) {
			v := s.Endpoints[0].Request
			for range 2000 {
				v.Values = []*registry.Value{{Name: "x"}}
				v = v.Values[0]
			}
		}, signed.Endpoints},
		{"endpoints removed", func(s *registry.Service) { s.Endpoints = nil }, ""},
		{"service metadata changed", func(s *registry.Service) { s.Metadata["team"] = "back" }, signed.Metadata},
		{"service metadata added", func(s *registry.Service) { s.Metadata["x"] = "y" }, signed.Metadata},
		{"service metadata of 2 MB", func(s *registry.Service) { s.Metadata["x"] = strings.Repeat("y", 2<<20) }, signed.Metadata},
		{"service metadata removed", func(s *registry.Service) { s.Metadata = nil }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.change(t, tt.change)
			for range 2 { // once before and once after the node is known
				got := mustGet(t, s.reader, "greeter")
				if len(got) != 1 || len(got[0].Nodes) != 1 {
					t.Fatalf("the node did not survive: %+v", got)
				}
				if tt.want != signed.Metadata && got[0].Metadata["team"] != "front" && got[0].Metadata != nil {
					t.Errorf("service metadata: got %v", got[0].Metadata)
				}
				if tt.want == signed.Endpoints && got[0].Endpoints != nil || tt.want == signed.Metadata && got[0].Metadata != nil {
					t.Errorf("not stripped: %+v %v", got[0].Endpoints, got[0].Metadata)
				}
				if tt.want == signed.Metadata && len(got[0].Endpoints) != 1 || tt.want == signed.Endpoints && got[0].Metadata["team"] != "front" {
					t.Error("more was stripped than what was changed")
				}
			}
			all := s.rejected.take()
			switch {
			case tt.want == "" && len(all) == 0:
			case len(all) != 1 || all[0].Reason != tt.want || !all[0].Passed || all[0].Peer.ID != s.greeter.ID():
				t.Errorf("rejections: got %+v, want one of %s, passed, naming the signer", all, tt.want)
			}
		})
	}
}

func TestEachByteOfARecord(t *testing.T) {
	s := newStage(t)
	honest := s.inner.one(t, "greeter")
	raw, err := signed.Carried(honest.Nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	var forged []*registry.Service
	for i := range raw {
		spoiled := slices.Clone(raw)
		spoiled[i] ^= 1 << (i % 8)
		one := s.inner.one(t, "greeter")
		if err := signed.Carry(one.Nodes[0], spoiled); err != nil {
			t.Fatal(err)
		}
		forged = append(forged, one)
	}
	for i, one := range forged {
		s.inner.forge(func([]*registry.Service) []*registry.Service { return []*registry.Service{one} })
		if got := found(t, s.reader, "greeter"); len(got) != 0 {
			t.Fatalf("byte %d of %d changed, and the node passes", i, len(raw))
		}
	}
	if got := len(s.rejected.take()); got != len(raw) {
		t.Errorf("%d rejections of %d forgeries", got, len(raw))
	}
	s.inner.forge(nil)
	wantNodes(t, s.reader, "greeter", "a@"+address)
}

func TestRecordUnderAnotherName(t *testing.T) {
	t.Run("another node id", func(t *testing.T) {
		s := newStage(t)
		one := s.inner.one(t, "greeter")
		other := node("b", address)
		other.Metadata = one.Nodes[0].Metadata
		mustRegister(t, s.inner, greeter(other))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Altered)
	})
	t.Run("another service name", func(t *testing.T) {
		s := newStage(t)
		one := s.inner.one(t, "greeter")
		one.Name = "billing"
		mustRegister(t, s.inner, one)
		wantNodes(t, s.reader, "billing")
		s.rejected.want(t, signed.Unauthorised)
	})
	t.Run("another name of the same service", func(t *testing.T) {
		s := newStage(t)
		both := s.issue("shop", identity.DNSNames("cart", "till"))
		one := s.forge(both, serviceOf("cart", node("c", address)), signed.Forgery{})
		one.Name = "till"
		mustRegister(t, s.inner, one)
		wantNodes(t, s.reader, "till")
		s.rejected.want(t, signed.Altered)
		wantNodes(t, s.reader, "cart", "c@"+address)
	})
	t.Run("the answer bears another name", func(t *testing.T) {
		s := newStage(t)
		one := s.inner.one(t, "greeter")
		s.inner.forge(func([]*registry.Service) []*registry.Service { return []*registry.Service{one} })
		wantNodes(t, s.reader, "billing")
		s.rejected.want(t, signed.Unauthorised)
	})
	t.Run("signed bytes name somebody else", func(t *testing.T) {
		s := newStage(t)
		s.forge(s.greeter, greeter(node("a", address)), signed.Forgery{Signer: "spiffe://shop.internal/billing"})
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Altered)
	})
	t.Run("another trust domain", func(t *testing.T) {
		s := newStage(t)
		twin := newFleetOf(t, "partner.example").issue("greeter")
		s.forge(twin, greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Untrusted)
	})
}
