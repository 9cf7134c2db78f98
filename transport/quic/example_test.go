package quic_test

import (
	"context"
	"fmt"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

type HelloRequest struct{ Name string }

type HelloResponse struct{ Text string }

type Greeter struct{}

func (Greeter) Hello(ctx context.Context, req *HelloRequest, rsp *HelloResponse) error {
	peer, ok := identity.PeerFromContext(ctx)
	if !ok {
		return fmt.Errorf("nobody calls")
	}
	rsp.Text = fmt.Sprintf("Hello %s, from %s", req.Name, peer.ID)
	return nil
}

// A greeter and a caller, each with an identity of the same authority.
func ExampleNewTransport() {
	if err := greet(); err != nil {
		fmt.Println(err)
	}
	// Output: Hello John, from spiffe://shop.internal/caller
}

func greet() error {
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		return err
	}
	transportOf := func(service string) (transport.Transport, error) {
		id, err := authority.Issue(service)
		return quic.NewTransport(quic.Identity(id)), err
	}
	greeter, err := transportOf("greeter")
	if err != nil {
		return err
	}
	caller, err := transportOf("caller")
	if err != nil {
		return err
	}
	defer caller.(interface{ Close() error }).Close()

	quiet := logger.NewLogger(logger.WithLevel(logger.FatalLevel))
	reg := registry.NewMemoryRegistry()
	srv := server.NewServer(server.Name("greeter"), server.Address("127.0.0.1:0"), server.Transport(greeter),
		server.Registry(reg), server.Broker(broker.NewMemoryBroker()), server.WithLogger(quiet))
	if err := srv.Handle(srv.NewHandler(new(Greeter))); err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return err
	}
	defer srv.Stop()

	cl := client.NewClient(client.Transport(caller), client.Registry(reg), client.ContentType("application/json"),
		client.Selector(selector.NewSelector(selector.Registry(reg))))
	var rsp HelloResponse
	err = cl.Call(context.Background(), cl.NewRequest("greeter", "Greeter.Hello", &HelloRequest{Name: "John"}), &rsp)
	if err != nil {
		return err
	}
	fmt.Println(rsp.Text)
	return nil
}
