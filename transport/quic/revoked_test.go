package quic_test

import (
	"sync"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
)

// TestRevokedWhileConnecting: a revocation between the handshake and the moment
// that a connection is known to its listener is not lost.
func TestRevokedWhileConnecting(t *testing.T) {
	f := newFleet(t)
	caller := f.issue("caller")
	var once sync.Once
	var handler called
	l := serve(t, f.transport("greeter", quic.Authorize(func(identity.Peer) error {
		once.Do(func() {
			if err := f.authority.Revoke(caller); err != nil {
				t.Error(err)
			}
		})
		return nil
	})), handler.handler)
	c, err := newTransport(t, quic.Identity(caller)).Dial(l.Addr())
	if err == nil {
		_, err = roundTrip(c, call("greeter", "too late"))
		_ = c.Close()
	}
	if err == nil || handler.times() != 0 {
		t.Errorf("got %v; the handler ran %d times", err, handler.times())
	}
}
