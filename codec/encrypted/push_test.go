package encrypted_test

import (
	"errors"
	"slices"
	"testing"

	"go-micro.dev/v4/client"

	"github.com/go-signet/signet/codec/encrypted"
)

// TestRevokedWhileItListens: a stream that only the service sends on ends when its caller
// is revoked, and not for other changes of trust.
func TestRevokedWhileItListens(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	c := newCaller(t, issue(t, a, "web"))
	meet(t, c.id, s.id)
	s.handler.ticks, s.handler.pushed = make(chan struct{}), make(chan error)
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Push", &Request{"x"}), client.WithAddress(s.address))
	must(t, err)
	must(t, stream.Send(&Request{"x"}))
	tick := func() error {
		s.handler.ticks <- struct{}{}
		return <-s.handler.pushed
	}
	for range 2 {
		must(t, tick())
		must(t, stream.Recv(new(Response)))
		must(t, a.Revoke(issue(t, a, "other")))
	}
	must(t, a.Revoke(c.id))
	if err := tick(); !errors.Is(err, encrypted.ErrRefused) {
		t.Errorf("to a revoked caller: %v", err)
	}
	if err := stream.Recv(new(Response)); err == nil {
		t.Error("the revoked caller has got a message")
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Sender}) {
		t.Errorf("the service was told %v", got)
	}
	must(t, stream.Close())
}

// TestForgottenWhileItListens: the same for a caller that only the peer directory knows.
func TestForgottenWhileItListens(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter"))
	c := newCaller(t, issue(t, a, "web"), encrypted.OmitCard())
	meet(t, c.id, s.id)
	meet(t, s.id, c.id)
	s.handler.ticks, s.handler.pushed = make(chan struct{}), make(chan error)
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Push", &Request{"x"}), client.WithAddress(s.address))
	must(t, err)
	must(t, stream.Send(&Request{"x"}))
	s.handler.ticks <- struct{}{}
	must(t, <-s.handler.pushed)
	s.id.Directory().RemoveKeys(c.id.ID())
	s.handler.ticks <- struct{}{}
	if err := <-s.handler.pushed; !errors.Is(err, encrypted.ErrRefused) {
		t.Errorf("to a caller whose key is gone: %v", err)
	}
	must(t, stream.Close())
}
