package signed_test

import (
	"fmt"
	"log"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// A service registers itself, somebody else puts a node of their own beside it, and
// clients find the service only. A program gets its identity from identity.Load and
// gives the registry to micro.NewService by micro.Registry.
func ExampleNewRegistry() {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		log.Fatal(err)
	}
	greeter, err := authority.Issue("greeter")
	if err != nil {
		log.Fatal(err)
	}
	client, err := authority.Issue("web")
	if err != nil {
		log.Fatal(err)
	}
	etcd := registry.NewMemoryRegistry() // what all share

	own := signed.NewRegistry(signed.Wrap(etcd), signed.Identity(greeter))
	if err := own.Register(&registry.Service{Name: "greeter", Version: "1.0.0", Nodes: []*registry.Node{{Id: "greeter-1", Address: "10.0.0.1:8000"}}}); err != nil {
		log.Fatal(err)
	}
	if err := etcd.Register(&registry.Service{Name: "greeter", Version: "1.0.0", Nodes: []*registry.Node{{Id: "rogue", Address: "10.6.6.6:8000"}}}); err != nil {
		log.Fatal(err)
	}

	quiet := registry.Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel))) // go-micro's prints to stdout
	lookup := signed.NewRegistry(signed.Wrap(etcd), signed.Identity(client), quiet, signed.OnReject(func(r signed.Rejection) {
		fmt.Printf("refused %q at %q: %s\n", r.Node, r.Address, r.Reason)
	}))
	services, err := lookup.GetService("greeter")
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			fmt.Println("found", n.Id, "at", n.Address)
		}
	}
	peers, _ := client.Directory().Bound("10.0.0.1:8000")
	fmt.Println("who answers there must be", peers[0])
	// Output:
	// refused "rogue" at "10.6.6.6:8000": unsigned
	// found greeter-1 at 10.0.0.1:8000
	// who answers there must be spiffe://shop.internal/greeter
}

// The http broker of go-micro registers in every process that uses it, under a name
// that is nobody's own.
func ExampleAllow() {
	signed.NewRegistry(signed.Allow("micro.http.broker", "greeter", "billing"))
	// Output:
}
