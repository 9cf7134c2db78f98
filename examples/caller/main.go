// Command caller is an ordinary go-micro client of greeter. Nothing in it knows of
// Signet but the imports in plugins.go: the environment says which transport it
// calls over, which registry it asks, and as whom.
//
//	export MICRO_TRANSPORT=quic MICRO_REGISTRY=signed
//	SIGNET_IDENTITY=keys/caller go run ./examples/caller
//
// See examples/README.md for the whole recipe.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
)

// options are the flags of this program; go-micro has more of its own.
type options struct {
	name    string
	address string
	wait    time.Duration
	every   time.Duration
	stream  bool
}

func main() {
	o, parsed := options{}, false
	service := micro.NewService(
		micro.Name("caller"),
		micro.Broker(broker.NewMemoryBroker()),
		micro.Flags(
			&cli.StringFlag{Name: "name", Value: "John", Usage: "Whom greeter is to greet", Destination: &o.name},
			&cli.StringFlag{Name: "address", EnvVars: []string{"GREETER_ADDRESS"}, Usage: "Where greeter listens, host:port, instead of asking the registry", Destination: &o.address},
			&cli.DurationFlag{Name: "wait", Usage: "How long greeter is to take for an answer", Destination: &o.wait},
			&cli.DurationFlag{Name: "every", Usage: "Call again and again with this pause, e.g. 100ms", Destination: &o.every},
			&cli.BoolFlag{Name: "stream", Usage: "With --every: over one stream, until it ends", Destination: &o.stream},
		),
		micro.Action(func(*cli.Context) error { parsed = true; return nil }),
	)
	service.Init()
	if !parsed {
		return // it was asked for help
	}
	client := service.Client()
	fmt.Printf("calling greeter over %s\n", client.Options().Transport)
	if err := (&caller{client, o}).run(service.Options().Context); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		os.Exit(1)
	}
}
