package encrypted_test

import (
	"context"
	"fmt"
	"log"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
)

// A service and a client of it over go-micro's http transport. A program gets its
// identity from identity.Load, and its peers' keys from a signed registry.
func Example() {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		log.Fatal(err)
	}
	greeter, err := authority.Issue("greeter")
	if err != nil {
		log.Fatal(err)
	}
	web, err := authority.Issue("web")
	if err != nil {
		log.Fatal(err)
	}
	card, err := greeter.Card()
	if err != nil {
		log.Fatal(err)
	}
	if err := web.AddCard(card); err != nil {
		log.Fatal(err)
	}

	srv := server.NewServer(append(encrypted.ServerOptions(greeter),
		server.Name("greeter"), server.Address("127.0.0.1:0"),
		server.Registry(registry.NewMemoryRegistry()), server.Broker(broker.NewMemoryBroker()), server.WithLogger(quiet()))...)
	if err := srv.Handle(srv.NewHandler(new(Polite))); err != nil {
		log.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}
	defer srv.Stop()

	c := client.NewClient(encrypted.ClientOptions(web)...)
	var rsp Response
	if err := c.Call(context.Background(), c.NewRequest("greeter", "Polite.Hello", &Request{Name: "John"}), &rsp,
		client.WithAddress(srv.Options().Address)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(rsp.Greeting)
	if err := c.Init(client.PoolSize(0)); err != nil { // closes what it has open
		log.Fatal(err)
	}
	// Output: Hello John, of spiffe://shop.internal/web
}

// Polite is a handler that says whom it answers.
type Polite struct{}

// Hello answers a call.
func (Polite) Hello(ctx context.Context, req *Request, rsp *Response) error {
	caller, ok := encrypted.Caller(ctx)
	if !ok {
		return fmt.Errorf("nobody calls")
	}
	rsp.Greeting = fmt.Sprintf("Hello %s, of %s", req.Name, caller.ID)
	return nil
}
