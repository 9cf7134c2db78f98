package encrypted_test

import (
	"errors"
	"slices"
	"testing"

	"go-micro.dev/v4/client"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/internal/envelope"
)

// suiteOf reads the suite of a recorded request.
func suiteOf(t *testing.T, m *message) envelope.Suite {
	t.Helper()
	e, err := envelope.Parse(m.body)
	must(t, err)
	return e.Suite
}

// TestPostQuantum: a client that asks for it seals so, and a service that requires it
// takes nothing else.
func TestPostQuantum(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"), encrypted.RequirePostQuantum())
	quantum, classic := newCaller(t, issue(t, a, "web"), encrypted.PostQuantum()), newCaller(t, issue(t, a, "old"))
	for _, c := range []*caller{quantum, classic} {
		meet(t, c.id, s.id)
	}
	p := newProxy(t, s.address)
	quantum.works(t, p.address)
	if suite := suiteOf(t, p.last()); !suite.PQ() {
		t.Errorf("sealed with suite %d", suite)
	}
	if _, err := classic.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	if suite := suiteOf(t, p.last()); suite.PQ() {
		t.Errorf("sealed with suite %d", suite)
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Suite}) {
		t.Errorf("the service was told %v", got)
	}
	quantum.works(t, p.address)
	bare := newCaller(t, issue(t, a, "shop"), encrypted.PostQuantum())
	must(t, bare.id.Directory().AddKeys(s.id.ID(), s.id.BoxKeys()[0].PublicKey().Bytes(), s.id.Peer().Certificate.NotAfter))
	if _, err := bare.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrNoKeys) {
		t.Errorf("without a post-quantum key: %v", err)
	}
	if n := s.handler.calls.Load(); n != 2 {
		t.Errorf("the handler ran %d times", n)
	}
}

// TestOmitCard: a caller without a card is known by the peer directory of the service,
// and no longer than that.
func TestOmitCard(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	c := newCaller(t, issue(t, a, "web"), encrypted.OmitCard())
	meet(t, c.id, s.id)
	p := newProxy(t, s.address)
	refused := func(what string) {
		t.Helper()
		if _, err := c.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
		// One without its epoch is sent once more.
		if got := slices.Compact(s.rejected.take()); !slices.Equal(got, []encrypted.Reason{encrypted.Sender}) {
			t.Errorf("%s: the service was told %v", what, got)
		}
	}
	refused("unknown")
	meet(t, s.id, c.id)
	c.works(t, p.address)
	if got := *s.handler.caller.Load(); got != c.id.ID() {
		t.Errorf("the handler saw %s", got)
	}
	if n := len(p.last().body); n > 350 {
		t.Errorf("the request has %d bytes", n)
	}
	s.id.Directory().RemoveKeys(c.id.ID())
	refused("withdrawn")
	meet(t, s.id, c.id)
	c.works(t, p.address)
	must(t, a.Revoke(c.id))
	refused("revoked")
}

// TestSelf: a service that calls itself knows its own key.
func TestSelf(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	c := newCaller(t, s.id)
	c.works(t, s.address)
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", nil), client.WithAddress(s.address))
	must(t, err)
	must(t, stream.Send(&Request{"John"}))
	must(t, stream.Recv(new(Response)))
	must(t, stream.Close())
}
