package signed_test

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

type Greeter struct{}

type Greeting struct{ Name string }

func (*Greeter) Hello(_ context.Context, in, out *Greeting) error {
	out.Name = "hello " + in.Name
	return nil
}

// A service that knows nothing of Signet is configured by its environment alone.
func TestServiceConfiguredByItsEnvironment(t *testing.T) {
	f, dir := newFleet(t), t.TempDir()
	if err := f.issue("greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	inner := plug(t, "test-inner")
	t.Setenv(identity.EnvDir, dir)
	t.Setenv("MICRO_REGISTRY", "signed")
	t.Setenv("MICRO_REGISTRY_ADDRESS", "10.0.0.9:2379")
	args := os.Args
	os.Args = []string{"greeter"}
	t.Cleanup(func() { os.Args = args })

	service := micro.NewService(
		micro.Server(server.NewServer()), // the default one is the process's, and this may run twice
		micro.Name("greeter"), micro.Version("1.2.3"), micro.Logger(quiet),
		micro.Transport(transport.NewMemoryTransport()), micro.Broker(broker.NewMemoryBroker()), micro.Address("127.0.0.1:0"),
	)
	service.Init()
	if err := micro.RegisterHandler(service.Server(), new(Greeter)); err != nil {
		t.Fatal(err)
	}
	if err := service.Server().Start(); err != nil {
		t.Fatal(err)
	}
	used := service.Options().Registry
	t.Cleanup(func() { _ = used.(io.Closer).Close() })

	if inner.made != 1 || len(inner.addrs) != 1 {
		t.Errorf("the inner registry was made %d times, with the addresses %q", inner.made, inner.addrs)
	}
	var rejected rejections
	reader := f.registry("reader", inner, rejected.hook())
	if got := found(t, reader, "greeter"); len(got) != 1 {
		t.Errorf("others find the nodes %v, want one", got)
	}
	rejected.want(t)
	var out Greeting
	req := service.Client().NewRequest("greeter", "Greeter.Hello", &Greeting{"Ada"}, client.WithContentType("application/json"))
	if err := service.Client().Call(t.Context(), req, &out); err != nil || out.Name != "hello Ada" {
		t.Errorf("a call through the signed registry: got %q, %v", out.Name, err)
	}
	if err := service.Server().Stop(); err != nil {
		t.Error(err)
	}
	if left := inner.copies("greeter"); len(left) != 0 {
		t.Errorf("%d nodes are left after Stop", len(left))
	}
}
