package signed

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// TestSequenceComesBackWithTheClock: what a clock far ahead has made nobody accepts,
// so what follows need not outdo it, or it would be refused as well.
func TestSequenceComesBackWithTheClock(t *testing.T) {
	s := new(signer)
	ahead := func(d time.Duration) uint64 { return uint64(time.Now().Add(d).UnixMicro()) }
	n := &ownNode{sequence: ahead(time.Hour)}
	if got, _ := s.next(n); got > ahead(clockSkew) {
		t.Errorf("after an hour ahead: got sequence %d, which is refused at %d", got, time.Now().UnixMicro())
	}
	was := ahead(clockSkew / 2)
	n.sequence = was
	if got, _ := s.next(n); got != was+1 {
		t.Errorf("within the tolerance: got sequence %d, want the one after %d", got, was)
	}
}

// TestOneServiceLeavesRoomForOthers: whoever may register one name can invent nodes.
// They must neither keep the nodes of other services out, nor known ones from renewal.
func TestOneServiceLeavesRoomForOthers(t *testing.T) {
	var known atomic.Int64
	greedy, other := new(serviceState), new(serviceState)
	enter := func(s *serviceState, id string, sequence uint64) error {
		n := &entry{id: id, record: &record{issued: time.Now().Unix(), lifetime: 60, sequence: sequence}}
		_, err := s.enter(n, time.Now(), &known)
		return err
	}
	refused := 0
	for i := range maxKnown {
		if enter(greedy, fmt.Sprint(i), 1) != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("one service may fill the memory")
	}
	if err := enter(greedy, "0", 2); err != nil {
		t.Errorf("renewal of a known node: %v", err)
	}
	if err := enter(other, "a", 1); err != nil {
		t.Errorf("a node of another service: %v", err)
	}
}

// TestDeletedNodesStayUnbound: a node that its registry has deleted does not come back
// into the peer directory because a certificate or a revocation list lasts longer now.
func TestDeletedNodesStayUnbound(t *testing.T) {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority.Issue("greeter")
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	r := NewRegistry(Wrap(registry.NewMemoryRegistry()), Identity(id)).(*signedRegistry)
	defer r.Close()
	s := &registry.Service{Name: "greeter", Nodes: []*registry.Node{{Id: "a", Address: "10.0.0.1:8000"}}}
	if err := r.Register(s); err != nil {
		t.Fatal(err)
	}
	if got, err := r.GetService("greeter"); err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	e := r.live.engine
	n := e.entries("greeter")[0]
	n.trust.until = n.trust.until.Add(-time.Second) // as if its certificate had ended earlier
	e.leave(n)
	e.recheck()
	if got, _ := id.Directory().Bound("10.0.0.1:8000"); len(got) > 0 {
		t.Errorf("the address of a deleted node is bound to %v", got)
	}
}
