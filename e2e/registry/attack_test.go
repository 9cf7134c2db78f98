package registry_test

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport"
)

// stage is a greeter under load, and a trap: a member of the fleet that waits for
// calls to greeter. Its leaf has greeter's name besides its own, so that nothing but
// the registry keeps calls from it.
type stage struct {
	*fleet
	greeter *service
	caller  *caller
	load    *load
	trap    *service
}

func newStage(t *testing.T, f *fleet) *stage {
	s := &stage{fleet: f}
	s.greeter = f.join(f.issue("greeter")).serve(spec{})
	s.trap = f.join(f.issue("trap", identity.DNSNames("greeter"))).serve(spec{registry: registry.NewMemoryRegistry()})
	s.caller = f.join(f.issue("caller")).caller()
	s.load = s.caller.load()
	return s
}

// attack plays an attack over a registry that keeps the first registration of a node,
// and over one that overwrites it.
func attack(t *testing.T, play func(*testing.T, *stage)) {
	for _, b := range []backend{memory, plugin} {
		t.Run(b.name, func(t *testing.T) { play(t, newStage(t, fleetOver(t, b))) })
	}
}

// repelled waits until the caller has refused a node for a reason, and has the load
// end without a failure and without a call that went into the trap. A caller that
// knows nothing yet must be as safe.
func (s *stage) repelled(node string, reason signed.Reason) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%s is refused: %s", node, reason), func() bool { return s.caller.refused.of(node, reason) })
	s.load.noneFailed()
	fresh := s.join(s.issue("caller")).caller()
	for range 10 {
		must(s.t, fresh.hello())
	}
	s.untrapped()
}

func (s *stage) untrapped() {
	s.t.Helper()
	if n := s.trap.handler.calls.Load(); n != 0 {
		s.t.Errorf("%d calls went into the trap", n)
	}
}

// write registers what an attacker makes up.
func (f *fleet) write(service *registry.Service) {
	f.t.Helper()
	must(f.t, f.bare.Register(service, ttl))
}

// ttl outlives every test. go-micro's etcd plugin panics without one.
var ttl = registry.RegisterTTL(10 * time.Minute)

// replace puts a node in the place of the one with its id.
func (s *stage) replace(service *registry.Service) {
	s.t.Helper()
	if !s.backend.overwrites {
		must(s.t, s.bare.Deregister(s.entry(service.Nodes[0].Id)))
	}
	s.write(service)
}

// entry is greeter's registration as whoever reads the registry finds it.
func (s *stage) entry(node string) *registry.Service {
	s.t.Helper()
	services, err := s.bare.GetService("greeter")
	must(s.t, err)
	for _, found := range services {
		for _, n := range found.Nodes {
			if n.Id == node {
				return &registry.Service{Name: found.Name, Version: found.Version, Endpoints: found.Endpoints, Nodes: []*registry.Node{n}}
			}
		}
	}
	s.t.Fatalf("there is no %s in the registry", node)
	return nil
}

func node(id, address string, metadata map[string]string) *registry.Service {
	md := map[string]string{"protocol": "mucp", "transport": "quic"}
	maps.Copy(md, metadata)
	return &registry.Service{Name: "greeter", Version: "v1", Nodes: []*registry.Node{{Id: id, Address: address, Metadata: md}}}
}

func TestRogueRegistration(t *testing.T) { attack(t, rogueRegistration) }

func rogueRegistration(t *testing.T, s *stage) {
	s.write(node("greeter-2", s.trap.address, nil))
	s.repelled("greeter-2", signed.Unsigned)
}

// TestBorrowedName: a member in good standing registers another's name. Allow is
// said in the attacker's process only.
func TestBorrowedName(t *testing.T) {
	s := newStage(t, newFleet(t))
	billing := s.join(s.issue("billing"), as{signed: []registry.Option{signed.Allow("greeter", "billing")}})
	must(t, billing.registry.Register(node("greeter-2", s.trap.address, nil)))
	s.repelled("greeter-2", signed.Unauthorised)
}

func TestAlteredAddress(t *testing.T) { attack(t, alteredAddress) }

func alteredAddress(t *testing.T, s *stage) {
	second := s.join(s.issue("greeter")).serve(spec{node: "2"})
	eventually(t, "calls reach the second, too", func() bool { return second.handler.calls.Load() > 0 })
	altered := s.entry("greeter-2")
	altered.Nodes[0].Address = s.trap.address
	s.replace(altered)
	s.repelled("greeter-2", signed.Altered)
}

// TestReplayedRecord: a replica moves, and its old record, whose signature is good
// and has not expired, is put in the place of the new one. At the old address there
// is a trap now. Who has seen the new record refuses the old one; who has not, is
// kept from the trap by the transport.
func TestReplayedRecord(t *testing.T) { attack(t, replayedRecord) }

func replayedRecord(t *testing.T, s *stage) {
	id := s.issue("greeter")
	second := s.join(id).serve(spec{node: "2"})
	eventually(t, "calls reach the second, too", func() bool { return second.handler.calls.Load() > 0 })
	old := s.entry("greeter-2")

	moved := s.join(id).serve(spec{node: "2", registry: registry.NewMemoryRegistry()}) // it listens before it is announced
	must(t, second.registry.Register(node("greeter-2", moved.address, nil), ttl))
	eventually(t, "calls reach the new address only", func() bool {
		was := second.handler.calls.Load()
		s.load.more(40)
		return moved.handler.calls.Load() > 0 && second.handler.calls.Load() == was
	})
	must(t, second.transport.(io.Closer).Close())
	s.trap = s.join(s.issue("trap", identity.DNSNames("greeter"))).serve(spec{address: second.address, registry: registry.NewMemoryRegistry()})

	s.replace(old)
	eventually(t, "the old record is refused", func() bool { return s.caller.refused.of("greeter-2", signed.Replayed) })
	s.load.noneFailed()
	fresh := s.join(s.issue("caller")).caller()
	eventually(t, "a caller that knows nothing is kept from the trap", func() bool {
		err := fresh.hello()
		return err != nil && strings.Contains(err.Error(), quic.ErrWrongPeer.Error())
	})
	s.untrapped()
}

// TestRevokedMember: a replica's certificate is revoked. Its calls may fail at that
// moment; from then on none reaches it, and none fails.
func TestRevokedMember(t *testing.T) {
	s := newStage(t, newFleet(t))
	id := s.issue("greeter")
	second := s.join(id).serve(spec{node: "2"})
	eventually(t, "calls reach the second, too", func() bool { return second.handler.calls.Load() > 0 })

	once := s.join(s.issue("caller")) // has looked it up, and does not watch
	_, err := once.registry.GetService("greeter")
	must(t, err)
	bound := func(m *member) bool {
		_, known := m.id.Directory().Bound(second.address)
		return known
	}
	if !bound(s.caller.member) || !bound(once) {
		t.Fatal("its address is not bound")
	}

	must(t, s.authority.Revoke(id))
	// Nobody looks it up here.
	eventually(t, "its address is let go of", func() bool { return !bound(s.caller.member) && !bound(once) })
	eventually(t, "calls no longer fail", func() bool {
		was := s.load.failures()
		s.load.more(40)
		return s.load.failures() == was
	})
	was, reached := s.load.failures(), second.handler.calls.Load()
	s.load.more(100)
	s.load.stop()
	if n := s.load.failures() - was; n != 0 {
		t.Errorf("%d calls failed after the change", n)
	}
	if n := second.handler.calls.Load() - reached; n != 0 {
		t.Errorf("%d calls reached the revoked replica", n)
	}
}

// TestFlood: junk of every kind fills the registry under greeter's name.
func TestFlood(t *testing.T) {
	s := newStage(t, newFleet(t))
	good := s.entry("greeter-1")
	long := strings.Repeat("x", 100<<10)
	const each = 50
	for i := range each {
		for kind, metadata := range map[string]map[string]string{
			"unsigned": nil,
			"record":   {"signet-0": fmt.Sprintf("AAAA%08d", i)},
			"long":     {"padding": long},
			"copy":     good.Nodes[0].Metadata,
		} {
			s.write(node(fmt.Sprintf("greeter-%s-%d", kind, i), s.trap.address, metadata))
		}
		s.load.more(1)
	}
	for kind, reason := range map[string]signed.Reason{
		"unsigned": signed.Unsigned,
		"record":   signed.Malformed,
		"long":     signed.Limit,
		"copy":     signed.Altered,
	} {
		for _, i := range []int{0, each - 1} {
			name := fmt.Sprintf("greeter-%s-%d", kind, i)
			eventually(t, name+" is refused", func() bool {
				_, err := s.caller.registry.GetService("greeter")
				must(t, err)
				return s.caller.refused.of(name, reason)
			})
		}
	}
	s.repelled("greeter-copy-0", signed.Altered)
}

// TestAllRevoked: nobody is left, and the selector's cache must not remember
// somebody.
func TestAllRevoked(t *testing.T) {
	f := newFleet(t)
	id := f.issue("greeter")
	greeter := f.join(id).serve(spec{})
	c := f.join(f.issue("caller")).caller()
	c.mustHello(greeter)
	must(t, f.authority.Revoke(id))
	eventually(t, "the selector finds nobody", func() bool {
		err := c.hello()
		return err != nil && strings.Contains(err.Error(), "not found")
	})
}

// TestRequireKnown: with quic.RequireKnown only what the registry vouches for is
// dialled at all.
func TestRequireKnown(t *testing.T) {
	s := newStage(t, newFleet(t))
	c := s.join(s.issue("caller"), as{quic: []transport.Option{quic.RequireKnown()}}).caller()
	c.mustHello(s.greeter)
	s.write(node("greeter-2", s.trap.address, nil))
	for range 10 {
		must(t, c.hello())
	}
	err := c.hello(client.WithAddress(s.trap.address))
	if err == nil || !strings.Contains(err.Error(), quic.ErrWrongPeer.Error()) {
		t.Errorf("dialling the trap: got %v, want %v", err, quic.ErrWrongPeer)
	}
	s.untrapped()
	s.load.noneFailed()
}
