package quic_test

import (
	"context"
	"testing"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/transport"
)

// TestCallerByServiceName: a handler knows a caller of its own trust domain by
// the bare name of its service.
func TestCallerByServiceName(t *testing.T) {
	f := newFleet(t)
	callers := make(chan identity.Peer, 1)
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		var m transport.Message
		if s.Recv(&m) != nil {
			return
		}
		// What go-micro's server does to make a handler's context.
		m.Header["Local"], m.Header["Remote"] = s.Local(), s.Remote()
		peer, ok := identity.PeerFromContext(metadata.NewContext(context.Background(), m.Header))
		if !ok {
			t.Error("nobody calls")
		}
		callers <- peer
		_ = s.Send(&m)
	})
	mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
	peer := <-callers
	if peer.ID != "spiffe://shop.internal/caller" || !peer.Serves("caller") || peer.Serves("greeter") {
		t.Errorf("got %v, which serves caller: %t, greeter: %t", peer, peer.Serves("caller"), peer.Serves("greeter"))
	}
}
