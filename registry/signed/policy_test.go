package signed_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

func TestAuthorize(t *testing.T) {
	t.Run("is shown what verified", func(t *testing.T) {
		var peer identity.Peer
		var shown *registry.Service
		s := newStage(t, signed.Authorize(func(p identity.Peer, service *registry.Service) error {
			peer, shown = p, service
			return nil
		}))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		if peer.ID != s.greeter.ID() || shown.Name != "greeter" || shown.Version != "1.2.3" || len(shown.Nodes) != 1 || shown.Nodes[0].Address != address {
			t.Errorf("got %v, %+v", peer, shown)
		}
		if shown.Metadata["team"] != "front" || len(shown.Endpoints) != 1 || shown.Nodes[0].Metadata["region"] != "eu-1" || shown.Nodes[0].Metadata["signet-0"] != "" {
			t.Errorf("got %+v, %+v", shown, shown.Nodes[0])
		}
		shown.Nodes[0].Address, shown.Metadata["team"] = "10.6.6.6:1", "back"
		shown.Endpoints[0].Request.Values[0].Name, shown.Nodes[0].Metadata["region"] = "x", "x"
		if got := mustGet(t, s.reader, "greeter")[0]; got.Nodes[0].Address != address || got.Metadata["team"] != "front" || got.Nodes[0].Metadata["region"] != "eu-1" || got.Endpoints[0].Request.Values[0].Name != "name" {
			t.Error("what it keeps is not its own")
		}
	})
	t.Run("changes what it is shown", func(t *testing.T) {
		s := newStage(t, signed.Authorize(func(_ identity.Peer, one *registry.Service) error {
			one.Nodes[0].Metadata["region"], one.Metadata["team"], one.Endpoints[0].Metadata["stream"] = "x", "x", "x"
			return nil
		}))
		got := mustGet(t, s.reader, "greeter")
		if len(got) != 1 || got[0].Nodes[0].Metadata["region"] != "eu-1" || got[0].Metadata["team"] != "front" || got[0].Endpoints[0].Metadata["stream"] != "false" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("is not shown what did not", func(t *testing.T) {
		var shown *registry.Service
		s := newStage(t, signed.Authorize(func(_ identity.Peer, service *registry.Service) error {
			shown = service
			return nil
		}))
		s.change(t, func(s *registry.Service) { s.Metadata["team"], s.Endpoints[0].Name = "back", "Greeter.Admin" })
		wantNodes(t, s.reader, "greeter", "a@"+address)
		if shown.Metadata != nil || shown.Endpoints != nil {
			t.Errorf("got %+v", shown)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		no := errors.New("not in this zone")
		s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error { return no }))
		wantNodes(t, s.reader, "greeter")
		all := s.rejected.take()
		if len(all) != 1 || all[0].Reason != signed.Unauthorised || !errors.Is(all[0].Err, no) {
			t.Errorf("got %+v", all)
		}
	})
	t.Run("cannot widen", func(t *testing.T) {
		s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error { return nil }))
		s.forge(s.issue("billing"), greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t, signed.Unauthorised)
	})
	t.Run("panics", func(t *testing.T) {
		s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error { panic("oh") }))
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Unauthorised)
	})
	t.Run("ends its goroutine", func(t *testing.T) {
		s := newStage(t, signed.Authorize(func(_ identity.Peer, one *registry.Service) error {
			if one.Nodes[0].Id == "bad" {
				runtime.Goexit()
			}
			return nil
		}))
		for i := range 20 { // many are checked beside each other
			s.forge(s.greeter, greeter(node(fmt.Sprint("n", i), address)), signed.Forgery{})
		}
		s.forge(s.greeter, greeter(node("bad", address)), signed.Forgery{})
		if got := found(t, s.reader, "greeter"); slices.Contains(got, "bad@"+address) {
			t.Errorf("got %v", got)
		}
		all := s.rejected.take()
		if !slices.ContainsFunc(all, func(j signed.Rejection) bool {
			return j.Node == "bad" && j.Reason == signed.Unauthorised && j.Err != nil
		}) {
			t.Errorf("rejections: got %+v", all)
		}
	})
	t.Run("looks something up itself", func(t *testing.T) {
		var s *stage
		s = newStage(t, signed.Authorize(func(_ identity.Peer, one *registry.Service) error {
			if one.Name == "greeter" {
				wantNodes(t, s.reader, "shop", "s@"+address)
			}
			return nil
		}))
		s.forge(s.issue("shop"), serviceOf("shop", node("s", address)), signed.Forgery{})
		for i := range 10 {
			s.forge(s.greeter, greeter(node(fmt.Sprint(i), address)), signed.Forgery{})
		}
		if got := found(t, s.reader, "greeter"); len(got) != 11 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("is asked once, and again when trust changes", func(t *testing.T) {
		var asked atomic.Int64
		s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error {
			asked.Add(1)
			return nil
		}))
		for range 3 {
			wantNodes(t, s.reader, "greeter", "a@"+address)
		}
		if got := asked.Load(); got != 1 {
			t.Errorf("asked %d times, want 1", got)
		}
		s.revoke(s.issue("somebody"))
		for range 3 {
			wantNodes(t, s.reader, "greeter", "a@"+address)
		}
		if got := asked.Load(); got != 2 {
			t.Errorf("asked %d times after a change of trust, want 2", got)
		}
	})
	t.Run("refuses what it let in before", func(t *testing.T) {
		var no atomic.Bool
		s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error {
			if no.Load() {
				return errors.New("no more")
			}
			return nil
		}))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		no.Store(true)
		s.revoke(s.issue("somebody"))
		wantNodes(t, s.reader, "greeter")
		s.rejected.want(t, signed.Unauthorised)
		if _, known := s.readerID.Directory().Bound(address); known || len(s.readerID.Directory().Keys("greeter")) != 0 {
			t.Error("the directory keeps it")
		}
	})
	t.Run("refusal of changed metadata is no refusal of the honest", func(t *testing.T) {
		s := newStage(t, signed.Authorize(func(_ identity.Peer, one *registry.Service) error {
			if one.Metadata["team"] != "front" {
				return errors.New("whose is it?")
			}
			return nil
		}))
		s.inner.forge(func(was []*registry.Service) []*registry.Service { was[0].Metadata["team"] = "back"; return was })
		wantNodes(t, s.reader, "greeter")
		s.inner.forge(nil)
		wantNodes(t, s.reader, "greeter", "a@"+address)
	})
	t.Run("revokes a signer whose node is known", func(t *testing.T) {
		var s *stage
		s = newStage(t, signed.Allow("greeter", "billing"), signed.Authorize(func(p identity.Peer, _ *registry.Service) error {
			if p.Service == "billing" {
				s.revoke(s.greeter)
			}
			return nil
		}))
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.forge(s.issue("billing"), greeter(node("b", address)), signed.Forgery{})
		wantNodes(t, s.reader, "greeter", "b@"+address)
	})
}

func TestAllow(t *testing.T) {
	const name = "micro.http.broker"
	s := newStage(t, signed.Allow(name, "greeter"), signed.Allow(name, "billing", "shop"), signed.Allow("other", "till"))
	for i, service := range []string{"greeter", "billing", "shop", "till"} {
		s.forge(s.issue(service), serviceOf(name, node(fmt.Sprint(i), address)), signed.Forgery{})
	}
	wantNodes(t, s.reader, name, "0@"+address, "1@"+address, "2@"+address)
	s.rejected.want(t, signed.Unauthorised)
	s.forge(s.issue("billing"), greeter(node("b", address)), signed.Forgery{})
	wantNodes(t, s.reader, "greeter", "a@"+address)
}

// What is allowed to one name must not be allowed to its namesake elsewhere.
func TestAllowIsForOurOwnTrustDomain(t *testing.T) {
	partner, home, inner := newFleetOf(t, "partner.example"), newFleet(t), newBoard()
	reader := wrap(t, inner, home.issue("reader", identity.Trusting(partner.authority)), signed.Allow("greeter", "billing"))
	one := greeter(node("b", address))
	if err := signed.Forge(partner.issue("billing"), one, signed.Forgery{}); err != nil {
		t.Fatal(err)
	}
	mustRegister(t, inner, one)
	wantNodes(t, reader, "greeter")
}
