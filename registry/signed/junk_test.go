package signed_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// 10 000 forgeries, each of which takes a look at its signature, are looked at once,
// and the good node is found among them.
func TestJunkIsCheckedOnce(t *testing.T) {
	var asked atomic.Int64 // right before a signature is checked
	s := newStage(t, signed.Authorize(func(identity.Peer, *registry.Service) error {
		asked.Add(1)
		return nil
	}))
	const junk = 10000
	honest := s.inner.one(t, "greeter")
	forged := &registry.Service{Name: "greeter", Version: "1.2.3"}
	for i := range junk {
		n := *honest.Nodes[0]
		n.Address = fmt.Sprintf("10.6.%d.%d:1", i/250, i%250)
		forged.Nodes = append(forged.Nodes, &n)
	}
	s.inner.forge(func(was []*registry.Service) []*registry.Service { return append([]*registry.Service{forged}, was...) })
	wantNodes(t, s.reader, "greeter", "a@"+address)
	if got := asked.Swap(0); got != junk+1 {
		t.Errorf("the first lookup checked %d records, want %d", got, junk+1)
	}
	if got := len(s.rejected.take()); got != junk {
		t.Errorf("%d rejections, want %d", got, junk)
	}
	wantNodes(t, s.reader, "greeter", "a@"+address)
	if got := asked.Load(); got != 0 {
		t.Errorf("the second lookup checked %d records, want none", got)
	}
	s.rejected.want(t)
}

func TestNodesOfOneAnswerAreLimited(t *testing.T) {
	s := newStage(t)
	wantNodes(t, s.reader, "greeter", "a@"+address)
	forged := &registry.Service{Name: "greeter", Version: "1.2.3"}
	for i := range 20000 {
		forged.Nodes = append(forged.Nodes, &registry.Node{Id: fmt.Sprint(i)})
	}
	s.inner.forge(func(was []*registry.Service) []*registry.Service { return append([]*registry.Service{forged}, was...) })
	wantNodes(t, s.reader, "greeter", "a@"+address) // it is known
	unsigned, limit := 0, 0
	for _, j := range s.rejected.take() {
		switch j.Reason {
		case signed.Unsigned:
			unsigned++
		case signed.Limit:
			limit++
		}
	}
	if unsigned != 16384 || limit != 1 {
		t.Errorf("%d nodes were looked at and %d limits reported, want 16384 and 1", unsigned, limit)
	}
}

func TestReports(t *testing.T) {
	t.Run("what is offered again is not reported again", func(t *testing.T) {
		s := newStage(t)
		mustRegister(t, s.inner, greeter(node("x", "10.6.6.6:1")))
		for range 5 {
			wantNodes(t, s.reader, "greeter", "a@"+address)
		}
		s.rejected.want(t, signed.Unsigned)
		s.revoke(s.issue("somebody")) // checked anew, and found the same
		wantNodes(t, s.reader, "greeter", "a@"+address)
		s.rejected.want(t)
	})
	t.Run("a hook that panics", func(t *testing.T) {
		log := newTestLogger()
		s := newStage(t, registry.Logger(log), signed.OnReject(func(signed.Rejection) { panic("oh") }))
		reader := wrap(t, s.inner, s.readerID, registry.Logger(log), signed.OnReject(func(signed.Rejection) { panic("oh") }))
		mustRegister(t, s.inner, greeter(node("x", "10.6.6.6:1"), node("y", "10.6.6.6:2")))
		wantNodes(t, reader, "greeter", "a@"+address)
		if got := log.logged("panicked"); len(got) != 2 {
			t.Errorf("%d panics were logged, want 2", len(got))
		}
	})
	t.Run("log", func(t *testing.T) {
		log := newTestLogger()
		s := newStage(t, registry.Logger(log))
		forged := greeter()
		for i := range 1000 {
			forged.Nodes = append(forged.Nodes, node(fmt.Sprint("x\n", i), "10.6.6.6:1"))
		}
		mustRegister(t, s.inner, forged)
		wantNodes(t, s.reader, "greeter", "a@"+address)
		lines := log.logged("refused: unsigned")
		if len(lines) == 0 || len(lines) > 100 {
			t.Errorf("%d lines, want a limited number", len(lines))
		}
		for _, line := range lines {
			if strings.Contains(line, "\n") || !strings.Contains(line, `"x\n`) {
				t.Errorf("not quoted: %q", line)
			}
		}
	})
}
