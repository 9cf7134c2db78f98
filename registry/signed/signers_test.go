package signed_test

import (
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

func TestSigners(t *testing.T) {
	t.Run("name not its own", func(t *testing.T) {
		s := newStage(t)
		billing := s.issue("billing")
		s.forge(billing, greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		all := s.rejected.take()
		if len(all) != 1 || all[0].Reason != signed.Unauthorised || all[0].Peer.ID != billing.ID() {
			t.Errorf("got %+v, want unauthorised and the signer", all)
		}
	})
	t.Run("federated namesake", func(t *testing.T) {
		partner := newFleetOf(t, "partner.example")
		home, rejected := newFleet(t), new(rejections)
		inner := newBoard()
		reader := wrap(t, inner, home.issue("reader", identity.Trusting(partner.authority)), rejected.hook())
		theirs := partner.issue("billing", identity.DNSNames("billing", "till"))
		for _, name := range []string{"billing", "till"} {
			one := serviceOf(name, node("b", address))
			if err := signed.Forge(theirs, one, signed.Forgery{}); err != nil {
				t.Fatal(err)
			}
			mustRegister(t, inner, one)
			wantNodes(t, reader, name)
			rejected.want(t, signed.Unauthorised)
		}
		one := serviceOf(theirs.ID(), node("b", address))
		if err := signed.Forge(theirs, one, signed.Forgery{}); err != nil {
			t.Fatal(err)
		}
		mustRegister(t, inner, one)
		wantNodes(t, reader, theirs.ID(), "b@"+address)
	})
	t.Run("untrusted CA of the same domain", func(t *testing.T) {
		s := newStage(t)
		s.forge(newFleet(t).issue("greeter"), greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Untrusted)
	})
	t.Run("wrong key", func(t *testing.T) {
		s := newStage(t)
		cert, err := s.greeter.TLSCertificate()
		if err != nil {
			t.Fatal(err)
		}
		thief := newFleet(t).issue("greeter")
		s.forge(thief, greeter(node("b", address)), signed.Forgery{Chain: cert.Certificate})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Altered)
	})
	t.Run("no certificate that parses", func(t *testing.T) {
		s := newStage(t)
		s.forge(s.greeter, greeter(node("b", address)), signed.Forgery{Chain: [][]byte{[]byte("certificate")}})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Malformed)
	})
	t.Run("revoked", func(t *testing.T) {
		s := newStage(t)
		s.revoke(s.greeter)
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Revoked)
	})
	t.Run("revoked after it was seen", func(t *testing.T) {
		s := newStage(t)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.revoke(s.greeter)
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Revoked)
		eventually(t, "the directory lets go", func() bool {
			_, known := s.readerID.Directory().Bound(address)
			return !known && len(s.readerID.Directory().Keys("greeter")) == 0
		})
	})
	t.Run("all nodes revoked", func(t *testing.T) {
		s := newStage(t)
		s.forge(s.greeter, greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address, "b@"+address)
		s.revoke(s.greeter)
		if got, err := s.reader.GetService("greeter"); err != nil || got == nil || len(got) != 0 {
			t.Errorf("got %v, %v, want empty, not nil, and no error", got, err)
		}
	})
	t.Run("two signers at one node id", func(t *testing.T) {
		s := newStage(t, signed.Allow("greeter", "billing"))
		billing := s.issue("billing")
		twin := greeter(node("a", "10.0.0.2:8000"))
		if err := signed.Forge(billing, twin, signed.Forgery{}); err != nil {
			t.Fatal(err)
		}
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, twin) })
		for range 2 {
			wantNodes(t, s.reader, "greeter", "a@10.0.0.2:8000") // the newer one, not both
		}
		s.rejected.want(t)
		s.revoke(billing)
		wantNodes(t, s.reader, "greeter", "a@"+address)
	})
	t.Run("withdrawal by another signer", func(t *testing.T) {
		s := newStage(t, signed.Allow("greeter", "billing"))
		gone := greeter(node("a", "10.0.0.2:8000"))
		if err := signed.Forge(s.issue("billing"), gone, signed.Forgery{Withdrawn: true, Issued: time.Now().Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, gone) })
		wantNodes(t, s.reader, "greeter", "a@"+address)
	})
	t.Run("the same node twice", func(t *testing.T) {
		s := newStage(t)
		s.inner.forge(func(was []*registry.Service) []*registry.Service { return append(was, was[0], was[0]) })
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t)
	})
}
