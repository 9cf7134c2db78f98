package signed_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// TestRegisterRefuses: what cannot be signed is refused before anything of it is
// registered, and the error says what to do.
func TestRegisterRefuses(t *testing.T) {
	inner := newLedger()
	r := newFleet(t).registry("greeter", inner)
	one := func(change func(s *registry.Service, n *registry.Node)) *registry.Service {
		s := greeter(node("a", "10.0.0.1:8000"))
		change(s, s.Nodes[0])
		return s
	}
	deep := new(registry.Value)
	for range 100 {
		deep = &registry.Value{Values: []*registry.Value{deep}}
	}
	for _, test := range []struct {
		name    string
		service *registry.Service
		want    error
		says    string
	}{
		{"nil", nil, signed.ErrInvalid, "give the service its nodes"},
		{"no nodes", greeter(), signed.ErrInvalid, "give the service its nodes"},
		{"nil nodes only", greeter(nil, nil), signed.ErrInvalid, "give the service its nodes"},
		{"no name", serviceOf("", node("a", "10.0.0.1:8000")), signed.ErrInvalid, "the one in the identity"},
		{"no node id", greeter(node("", "10.0.0.1:8000")), signed.ErrInvalid, "without a service name or an id"},
		{"another's name", serviceOf("billing", node("a", "10.0.0.1:8000")), signed.ErrUnauthorised, "signed.Allow"},
		{"one id twice", greeter(node("a", "10.0.0.1:8000"), node("a", "10.0.0.2:8000")), signed.ErrInvalid, "give each its own"},
		{"long version", one(func(s *registry.Service, _ *registry.Node) { s.Version = strings.Repeat("1", signed.MaxName+1) }), signed.ErrInvalid, "at most 255"},
		{"long node id", one(func(_ *registry.Service, n *registry.Node) { n.Id = strings.Repeat("a", signed.MaxNodeID+1) }), signed.ErrInvalid, "at most 255"},
		{"long address", one(func(_ *registry.Service, n *registry.Node) { n.Address = strings.Repeat("a", signed.MaxAddress+1) }), signed.ErrInvalid, "at most 300"},
		{"much node metadata", one(func(_ *registry.Service, n *registry.Node) {
			n.Metadata["note"] = strings.Repeat("a", signed.MaxNodeMetadata+1)
		}), signed.ErrInvalid, "at most 16384"},
		{"much service metadata", one(func(s *registry.Service, _ *registry.Node) {
			s.Metadata["note"] = strings.Repeat("a", signed.MaxEndpointData+1)
		}), signed.ErrInvalid, "1048576"},
		{"many endpoints", one(func(s *registry.Service, _ *registry.Node) {
			for range signed.MaxEndpoints + 1 {
				s.Endpoints = append(s.Endpoints, new(registry.Endpoint))
			}
		}), signed.ErrInvalid, "at most 1024"},
		{"deep endpoint", one(func(s *registry.Service, _ *registry.Node) { s.Endpoints[0].Request = deep }), signed.ErrInvalid, "16 levels"},
		{"no UTF-8 in the version", one(func(s *registry.Service, _ *registry.Node) { s.Version = "\xff" }), signed.ErrInvalid, "UTF-8"},
		{"no UTF-8 in the node", one(func(_ *registry.Service, n *registry.Node) { n.Metadata["note"] = "\xff" }), signed.ErrInvalid, "UTF-8"},
		{"no UTF-8 in an endpoint", one(func(s *registry.Service, _ *registry.Node) { s.Endpoints[0].Name = "\xff" }), signed.ErrInvalid, "UTF-8"},
		{"no UTF-8 in the metadata", one(func(s *registry.Service, _ *registry.Node) { s.Metadata["\xff"] = "" }), signed.ErrInvalid, "UTF-8"},
		{"the last node only", greeter(node("a", "10.0.0.1:8000"), node("b", "\xff")), signed.ErrInvalid, "UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := r.Register(test.service)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v that says %q", err, test.want, test.says)
			}
			inner.wantOps(t)
		})
	}
}

// TestRegisterWithoutUsableLeaf: nothing goes out unsigned, or signed by a leaf that
// has ended.
func TestRegisterWithoutUsableLeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newLedger(), newFleet(t)
		r := wrap(t, inner, f.issue("greeter", identity.ValidFor(time.Hour)))
		time.Sleep(2 * time.Hour)
		if err := r.Register(greeter(node("a", "10.0.0.1:8000"))); !errors.Is(err, identity.ErrExpired) || !strings.Contains(err.Error(), "renew it") {
			t.Errorf("got %v, want ErrExpired and the remedy", err)
		}
		inner.wantOps(t)
	})
}

func TestRegisterReplacesReservedKeys(t *testing.T) {
	inner, f := newLedger(), newFleet(t)
	var rejected rejections
	reader := f.registry("reader", inner, rejected.hook())
	n := node("a", "10.0.0.1:8000")
	n.Metadata["signet-0"], n.Metadata["signet-31"], n.Metadata["signet-note"] = "junk", "junk", "junk"
	mustRegister(t, f.registry("greeter", inner), greeter(n))
	wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
	rejected.want(t)
}

// TestRegisterKeepsApart: the caller's service is neither changed nor kept, and what
// the inner registry does to what it got does not come back.
func TestRegisterKeepsApart(t *testing.T) {
	inner, f := newLedger(), newFleet(t)
	r, s := f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000"), nil)
	before := textOf(s)
	mustRegister(t, r, s)
	if after := textOf(s); after != before {
		t.Errorf("Register changed %s to %s", before, after)
	}
	want := textOf(inner.wantOps(t, "register")[0].service)

	scribbler := &scribbler{ledger: newLedger()}
	r = f.registry("greeter", scribbler)
	for range 2 {
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	}
	if calls := scribbler.take(); textOf(calls[0].service) != textOf(calls[1].service) {
		t.Errorf("the second time: got %s, want %s", textOf(calls[1].service), textOf(calls[0].service))
	}

	s.Nodes[0].Address, s.Endpoints[0].Name, s.Metadata["team"] = "10.6.6.6:1", "Evil", "evil"
	if got := textOf(inner.one(t, "greeter")); got != want {
		t.Errorf("the caller changed what is registered to %s", got)
	}
}

// scribbler writes on what it is handed.
type scribbler struct{ *ledger }

func (i *scribbler) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	err := i.ledger.Register(s, opts...)
	s.Nodes[0].Metadata["region"] = "nowhere"
	s.Endpoints[0].Request.Values[0].Name = "evil"
	s.Metadata["team"] = "evil"
	return err
}

// TestRegisterAgain: the same content is handed on in the same bytes, with the same
// options, however often it is made anew; other content is signed anew.
func TestRegisterAgain(t *testing.T) {
	inner := newLedger()
	r := newFleet(t).registry("greeter", inner)
	register := func(change func(s *registry.Service)) call {
		s := greeter(node("a", "10.0.0.1:8000"))
		change(s)
		mustRegister(t, r, s, registry.RegisterTTL(90*time.Second))
		return inner.wantOps(t, "register")[0]
	}
	first := register(func(*registry.Service) {})
	again := register(func(s *registry.Service) { s.Nodes[0].Metadata = maps.Clone(s.Nodes[0].Metadata) })
	if textOf(first.service) != textOf(again.service) {
		t.Errorf("the same content: got %s, then %s", textOf(first.service), textOf(again.service))
	}
	if again.opts.TTL != 90*time.Second {
		t.Errorf("TTL %v, want 90s", again.opts.TTL)
	}
	was := first.read(t).Sequence
	for name, change := range map[string]func(s *registry.Service){
		"version":          func(s *registry.Service) { s.Version = "2" },
		"address":          func(s *registry.Service) { s.Nodes[0].Address = "10.0.0.2:8000" },
		"node metadata":    func(s *registry.Service) { s.Nodes[0].Metadata["region"] = "us-1" },
		"service metadata": func(s *registry.Service) { s.Metadata["team"] = "back" },
		"endpoints":        func(s *registry.Service) { s.Endpoints[0].Name = "Greeter.Bye" },
	} {
		next := register(change).read(t).Sequence
		if next <= was {
			t.Errorf("another %s: sequence %d after %d, want a new record", name, next, was)
		}
		was = next
	}
}

// TestRegisterForeign: nobody signs for others.
func TestRegisterForeign(t *testing.T) {
	f, shared := newFleet(t), newBoard()
	allow := signed.Allow("greeter", "billing")
	mustRegister(t, f.registry("billing", shared, allow), greeter(node("b", "10.0.0.2:8000")))
	mustRegister(t, f.registry("greeter", shared), greeter(node("r", "10.0.0.3:8000")))
	var theirs, replicas *registry.Node
	for _, s := range shared.copies("greeter") {
		if s.Nodes[0].Id == "b" {
			theirs = s.Nodes[0]
		} else {
			replicas = s.Nodes[0]
		}
	}

	t.Run("beside our own", func(t *testing.T) {
		inner := newLedger()
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000"), theirs, replicas))
		if got := inner.wantOps(t, "register")[0].service.Nodes[0].Id; got != "a" {
			t.Errorf("node %s was registered", got)
		}
	})
	for name, n := range map[string]*registry.Node{"another's only": theirs, "a replica's only": replicas} {
		t.Run(name, func(t *testing.T) {
			inner := newLedger()
			if err := f.registry("greeter", inner).Register(greeter(n)); !errors.Is(err, signed.ErrForeign) {
				t.Errorf("got %v, want ErrForeign", err)
			}
			inner.wantOps(t)
		})
	}
	t.Run("an id that another holds", func(t *testing.T) {
		r := f.registry("greeter", shared, allow)
		mustGet(t, r, "greeter") // now it knows
		if err := r.Register(greeter(node("b", "10.0.0.1:8000"))); !errors.Is(err, signed.ErrForeign) {
			t.Errorf("got %v, want ErrForeign", err)
		}
	})
	t.Run("an id that we held before a restart", func(t *testing.T) {
		r := f.registry("greeter", shared)
		mustGet(t, r, "greeter")
		mustRegister(t, r, greeter(node("r", "10.0.0.4:8000")))
	})
	t.Run("our own, as a registry returns it", func(t *testing.T) {
		inner := newLedger()
		r := f.registry("greeter", inner)
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		mustRegister(t, r, mustGet(t, r, "greeter")[0])
		if calls := inner.wantOps(t, "register", "register"); textOf(calls[0].service) != textOf(calls[1].service) {
			t.Error("it was signed anew")
		}
	})
}

// TestMDNSPacketSize: packets that mDNS cannot carry are refused, and those that it
// hardly can are warned of, once.
func TestMDNSPacketSize(t *testing.T) {
	f, log := newFleet(t), newTestLogger()
	inner := newLedger()
	inner.name = "mdns"
	r := f.registry("greeter", inner, registry.Logger(log))
	sized := func(n int) *registry.Service { // text that does not compress below half
		s, noise := greeter(node("a", "10.0.0.1:8000")), make([]byte, n/2)
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		s.Nodes[0].Metadata["noise"] = hex.EncodeToString(noise)
		return s
	}
	for _, size := range []int{1000, 4000} {
		s := sized(size)
		if got := signed.MDNSPacketSize(s, s.Nodes[0]); got < size || got > 2*size+1500 {
			t.Errorf("%d bytes of noise: a packet of %d bytes", size, got)
		}
	}
	if got := signed.MDNSPacketSize(nil, nil); got != 0 {
		t.Errorf("no node: %d bytes", got)
	}
	if err := r.Register(sized(10000)); !errors.Is(err, signed.ErrInvalid) || !strings.Contains(err.Error(), "at most 9000") {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	inner.wantOps(t)
	mustRegister(t, r, sized(1000))
	mustRegister(t, r, sized(1000))
	if got := log.logged("mDNS packet"); len(got) != 1 {
		t.Errorf("warned %d times, want once: %q", len(got), got)
	}
}
