package signed

import (
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// newTestSigner returns a signer around an inner registry.
func newTestSigner(t *testing.T) *signer {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Issue("greeter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	r := NewRegistry(Wrap(registry.NewMemoryRegistry()), Identity(id)).(*signedRegistry)
	t.Cleanup(func() { _ = r.Close() })
	l, err := r.use()
	if err != nil {
		t.Fatal(err)
	}
	return l.signer
}

// TestWithdrawalOutlastsRecords: also if the clock was put back since they were made.
func TestWithdrawalOutlastsRecords(t *testing.T) {
	s := newTestSigner(t)
	one := &registry.Service{Name: "greeter", Nodes: []*registry.Node{{Id: "a", Address: "10.0.0.1:8000"}}}
	n := s.enter(nodeKey{"greeter", "a"})
	held, err := s.signed(n, one)
	if err != nil {
		t.Fatal(err)
	}
	n.longest = time.Unix(time.Now().Add(3*s.validity).Unix(), 0)
	gone, err := s.withdraw(n, held)
	if err != nil {
		t.Fatal(err)
	}
	if gone.expires.Before(n.longest) {
		t.Errorf("the withdrawal ends at %v, the longest record at %v", gone.expires, n.longest)
	}
}

// TestGoneNodesAreForgotten: but not while a record of theirs counts, or a call has
// them in hand.
func TestGoneNodesAreForgotten(t *testing.T) {
	s := newTestSigner(t)
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	for id, n := range map[string]*ownNode{
		"gone":       {longest: past},
		"lasting":    {longest: future},
		"in hand":    {longest: past, users: 1},
		"registered": {longest: past, held: new(signedNode)},
	} {
		n.key, n.turn = nodeKey{"greeter", id}, make(chan struct{}, 1)
		if s.nodes == nil {
			s.nodes = make(map[nodeKey]*ownNode)
		}
		s.nodes[n.key] = n
	}
	s.leave(s.enter(nodeKey{"greeter", "another"}))
	for id, want := range map[string]bool{"gone": false, "lasting": true, "in hand": true, "registered": true, "another": true} {
		if _, got := s.nodes[nodeKey{"greeter", id}]; got != want {
			t.Errorf("%s: kept %v, want %v", id, got, want)
		}
	}
}
