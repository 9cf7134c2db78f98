package nats_test

import (
	"fmt"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
)

func ExampleNewBroker() {
	// In production: identity.Load("keys/greeter"), made by signet issue.
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		panic(err)
	}
	id, err := authority.Issue("greeter")
	if err != nil {
		panic(err)
	}
	defer id.Close()

	b := nats.NewBroker(broker.Addrs("nats-1", "nats-2:4222"), nats.Identity(id))
	fmt.Println(b, b.Address(), b.Init())

	// What is refused says what to do.
	b = nats.NewBroker(broker.Addrs("nats-1"), nats.Auth("greeter", "password"))
	fmt.Println(b.Init())
	// Output:
	// nats tls://nats-1:4222 <nil>
	// nats: insecure configuration: credentials would go to nats-1:4222 in clear: use TLS, by nats.Identity, broker.TLSConfig or tls://
}
