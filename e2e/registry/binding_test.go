package registry_test

import (
	"slices"
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

const greeterID = "spiffe://shop.internal/greeter"

// TestImpostorAtAddress: greeter is gone and its signed entry is still there;
// another member of the fleet listens at the address in it. In the cases but the
// first the name check of the transport alone would let the call pass, so only the
// binding of address and peer, which registry/signed makes, is left to stop it.
func TestImpostorAtAddress(t *testing.T) {
	for _, tt := range []struct {
		name string
		leaf []identity.IssueOption // of the impostor
		via  []transport.Option     // of the caller
		want error
		// control: a caller without the binding reaches the impostor.
		control bool
	}{
		{name: "another name", want: quic.ErrWrongPeer},
		{name: "greeter as DNS name", leaf: []identity.IssueOption{identity.DNSNames("greeter")}, want: quic.ErrWrongPeer, control: true},
		{name: "allowed by Via", via: []transport.Option{quic.Via("billing")}, want: quic.ErrWrongPeer, control: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t)
			greeter := f.join(f.issue("greeter")).serve(spec{})
			c := f.join(f.issue("caller"), as{quic: tt.via}).caller()
			c.mustHello(greeter)
			if bound, _ := c.id.Directory().Bound(greeter.address); !slices.Equal(bound, []string{greeterID}) {
				t.Errorf("bound to %s: %q", greeter.address, bound)
			}

			greeter.crash()
			billing := f.join(f.issue("billing", tt.leaf...)).serve(spec{address: greeter.address, registry: registry.NewMemoryRegistry()})
			if billing.address != greeter.address {
				t.Fatalf("the impostor listens at %s, greeter did at %s", billing.address, greeter.address)
			}
			refused := func(c *caller) {
				t.Helper()
				// The first call may find out only that greeter is gone.
				eventually(t, "the impostor is recognised", func() bool {
					err := c.hello()
					if err == nil {
						t.Fatal("a call went through")
					}
					return strings.Contains(err.Error(), tt.want.Error())
				})
			}
			refused(c)
			refused(f.join(f.issue("caller"), as{quic: tt.via}).caller()) // one that has never met greeter
			if n := billing.handler.calls.Load(); n != 0 {
				t.Errorf("the impostor's handler ran %d times", n)
			}
			if tt.control {
				blind := f.join(f.issue("caller"), as{quic: tt.via}).caller()
				must(t, blind.hello(client.WithAddress(greeter.address)))
				if billing.handler.calls.Load() == 0 {
					t.Error("without a binding the call should have reached the impostor: the test tests nothing")
				}
			}
		})
	}
}

// TestAddressReused: another service starts, and registers, where greeter was when it
// crashed. It is called by its own name, and by greeter's it is not.
func TestAddressReused(t *testing.T) {
	f := newFleet(t)
	greeter := f.join(f.issue("greeter")).serve(spec{})
	c := f.join(f.issue("caller"), as{quic: []transport.Option{quic.RequireKnown()}}).caller()
	c.mustHello(greeter)

	greeter.crash()
	billing := f.join(f.issue("billing")).serve(spec{name: "billing", address: greeter.address})
	eventually(t, "billing is called by its name", func() bool { return c.call("billing", "Greeter.Hello") == nil })
	called := billing.handler.calls.Load()
	eventually(t, "it is not taken for greeter", func() bool {
		err := c.hello()
		if err == nil {
			t.Fatal("a call went through")
		}
		return strings.Contains(err.Error(), quic.ErrWrongService.Error())
	})
	if n := billing.handler.calls.Load() - called; n != 0 {
		t.Errorf("%d calls to greeter reached billing", n)
	}
}

// TestMove: calls follow a service to its new address, and the old one is nobody's.
func TestMove(t *testing.T) {
	f := newFleet(t)
	id := f.issue("greeter")
	old := f.join(id).serve(spec{})
	c := f.join(f.issue("caller")).caller()
	c.mustHello(old)

	old.stop()
	moved := f.join(id).serve(spec{})
	if moved.address == old.address {
		t.Fatal("it has not moved")
	}
	eventually(t, "calls follow", func() bool { return c.hello() == nil })
	c.mustHello(moved)
	if bound, _ := c.id.Directory().Bound(moved.address); !slices.Equal(bound, []string{greeterID}) {
		t.Errorf("bound to the new address: %q", bound)
	}
	eventually(t, "the old binding goes", func() bool {
		_, known := c.id.Directory().Bound(old.address)
		return !known
	})
}

// TestExpiry: when a record has ended its address is nobody's, and calls find
// nobody.
func TestExpiry(t *testing.T) {
	f := newFleet(t)
	const validity = 10 * time.Second // the least
	greeter := f.join(f.issue("greeter"), as{signed: []registry.Option{signed.Validity(validity)}}).serve(spec{})
	c := f.join(f.issue("caller"), as{quic: []transport.Option{quic.RequireKnown()}}).caller()
	c.mustHello(greeter)

	must(t, greeter.registry.(interface{ Close() error }).Close()) // it listens, and signs no more
	eventually(t, "the binding goes", func() bool {
		_, known := c.id.Directory().Bound(greeter.address)
		return !known
	})
	eventually(t, "the selector lets go of it", func() bool {
		err := c.hello()
		return err != nil && strings.Contains(err.Error(), "not found")
	})
	before := greeter.handler.calls.Load()
	if err := c.hello(client.WithAddress(greeter.address)); err == nil || !strings.Contains(err.Error(), quic.ErrWrongPeer.Error()) {
		t.Errorf("dialling the address: got %v, want %v", err, quic.ErrWrongPeer)
	}
	if greeter.handler.calls.Load() != before {
		t.Error("its handler ran")
	}
}
