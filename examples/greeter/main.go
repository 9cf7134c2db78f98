// Command greeter is an ordinary go-micro service. Nothing in this file knows of
// Signet: the environment says which transport it listens on, which registry it
// registers in, and as whom.
//
//	export MICRO_TRANSPORT=quic MICRO_REGISTRY=signed
//	SIGNET_IDENTITY=keys/greeter go run ./examples/greeter
//
// See examples/README.md for the whole recipe.
package main

import (
	"context"
	"log"
	"time"

	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/server"
)

func main() {
	service := micro.NewService(
		micro.Name("greeter"),
		micro.WrapHandler(logCaller),
		// It has no events. go-micro's default broker would open a port for them,
		// in clear and for everybody.
		micro.Broker(broker.NewMemoryBroker()),
	)
	service.Init()
	if err := micro.RegisterHandler(service.Server(), new(Greeter)); err != nil {
		log.Fatal("greeter: ", err)
	}
	if err := service.Run(); err != nil {
		log.Fatal("greeter: ", err)
	}
}

// Request is what a caller asks.
type Request struct {
	Name string `json:"name"`
	// Wait makes the answer take that long, at most maxWait.
	Wait time.Duration `json:"wait,omitempty"`
}

// Response is the answer.
type Response struct {
	Greeting string `json:"greeting"`
}

const maxWait = 10 * time.Second

// Greeter is the handler.
type Greeter struct{}

// Hello answers one call.
func (*Greeter) Hello(ctx context.Context, req *Request, rsp *Response) error {
	if req.Wait > 0 {
		select {
		case <-time.After(min(req.Wait, maxWait)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// Chat answers each message of a stream.
func (*Greeter) Chat(_ context.Context, stream server.Stream) error {
	defer stream.Close()
	for {
		var req Request
		if err := stream.Recv(&req); err != nil {
			return nil // the caller is done, or gone
		}
		if err := stream.Send(&Response{Greeting: "Hello " + req.Name}); err != nil {
			return err
		}
	}
}
