package identity_test

import (
	"context"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/caller"
	"go-micro.dev/v4/metadata"
)

// TestRememberedCaller: what was opened once does not open for another
// connection, or altered.
func TestRememberedCaller(t *testing.T) {
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(value, local, remote string) (identity.Peer, bool) {
		return identity.PeerFromContext(metadata.NewContext(context.Background(), metadata.Metadata{
			caller.Header: value, "Local": local, "Remote": remote,
		}))
	}
	for range 600 { // more than are remembered
		id, err := a.Issue("shop")
		if err != nil {
			t.Fatal(err)
		}
		value := caller.SealHome(id.Peer().Certificate.Raw, "l", "r")
		for range 2 {
			peer, ok := ask(value, "l", "r")
			if !ok || peer.Certificate.SerialNumber.Cmp(id.Peer().Certificate.SerialNumber) != 0 || !peer.Serves("shop") {
				t.Fatalf("got %v, %t", peer, ok)
			}
		}
		for _, wrong := range [][3]string{
			{value, "l", "other"}, {value, "other", "r"}, {value[:len(value)-4], "l", "r"}, {value + "AAAA", "l", "r"},
			{value[:50] + "A" + value[51:], "l", "r"}, {value[:43], "l", "r"}, {value[:1], "l", "r"},
		} {
			if wrong == [3]string{value, "l", "r"} {
				continue // the byte that was to change was an A already
			}
			if peer, ok := ask(wrong[0], wrong[1], wrong[2]); ok {
				t.Fatalf("%q between %q and %q was taken for %v", wrong[0], wrong[1], wrong[2], peer)
			}
		}
	}
}
