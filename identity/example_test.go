package identity_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"

	"go-micro.dev/v4/metadata"

	"github.com/go-signet/signet/identity"
)

// An authority issues identities; each verifies the chain that the other presents.
func Example() {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		log.Fatal(err)
	}
	greeter, err := authority.Issue("greeter")
	if err != nil {
		log.Fatal(err)
	}
	defer greeter.Close()
	billing, err := authority.Issue("billing")
	if err != nil {
		log.Fatal(err)
	}
	defer billing.Close()

	presented := billing.Peer().Certificate
	peer, _, err := greeter.Verify([]*x509.Certificate{presented})
	fmt.Println(peer, peer.Serves("billing"), err)

	if err := authority.Revoke(billing); err != nil {
		log.Fatal(err)
	}
	_, _, err = greeter.Verify([]*x509.Certificate{presented})
	fmt.Println(errors.Is(err, identity.ErrRevoked))

	// Output:
	// spiffe://shop.internal/billing true <nil>
	// true
}

// A card brings box keys to a peer that shares no registry with us.
func ExampleIdentity_AddCard() {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		log.Fatal(err)
	}
	shop, err := authority.Issue("shop")
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()
	billing, err := authority.Issue("billing")
	if err != nil {
		log.Fatal(err)
	}
	defer billing.Close()

	card, err := billing.Card()
	if err != nil {
		log.Fatal(err)
	}
	if err := shop.AddCard(card); err != nil {
		log.Fatal(err)
	}
	for _, key := range shop.Directory().Keys("billing") {
		fmt.Println(key.PeerID, key.Key.Equal(billing.BoxKeys()[0].PublicKey()))
	}

	// Output:
	// spiffe://shop.internal/billing true
}

// A header that a client made up is nobody.
func ExamplePeerFromContext() {
	ctx := metadata.NewContext(context.Background(), metadata.Metadata{
		"Signet-Caller": "spiffe://shop.internal/billing",
	})
	_, ok := identity.PeerFromContext(ctx)
	fmt.Println(ok)

	// Output:
	// false
}
