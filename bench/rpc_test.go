package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
)

// smallJSON is the payload of an RPC that is nearly all headers, in bytes.
const smallJSON = 16

// Request and Response are what the RPC carries, as JSON. Seq tells answers apart
// and Payload gives them their size. They are exported because go-micro insists.
type Request struct {
	Seq     uint64 `json:"seq"`
	Payload string `json:"payload"`
}

// Response repeats the Request it answers.
type Response struct {
	Seq     uint64 `json:"seq"`
	Payload string `json:"payload"`
}

// Echo is the go-micro handler.
type Echo struct{}

// Call answers with what it was asked.
func (Echo) Call(_ context.Context, req *Request, rsp *Response) error {
	rsp.Seq, rsp.Payload = req.Seq, req.Payload
	return nil
}

// BenchmarkRPC calls a go-micro handler through go-micro's client and server. All
// calls in flight share one client, whose pool holds a socket for each.
func BenchmarkRPC(b *testing.B) {
	reg := registry.NewMemoryRegistry() // one for all: it never stops its goroutine
	for _, p := range plugins() {
		for _, size := range append([]int{smallJSON}, sizes[:]...) {
			for _, inflight := range inflights {
				b.Run(fmt.Sprintf("plugin=%s/size=%d/inflight=%d", p.name, size, inflight), func(b *testing.B) {
					drive(b, size, rpcOps(b, p, reg, size, inflight))
				})
			}
		}
	}
}

// rpcOps starts a go-micro server over the peer and returns n calls to it.
func rpcOps(tb testing.TB, p peer, reg registry.Registry, size, n int) []op {
	tb.Helper()
	serverEnd, clientEnd := p.ends(tb)
	log := quiet()

	srv := server.NewRPCServer(
		server.Name(service),
		server.Address(loopback),
		server.Transport(serverEnd),
		server.Registry(reg),
		server.Broker(broker.NewMemoryBroker()),
		server.RegisterInterval(0),
		server.WithLogger(log),
	)
	if err := srv.Handle(srv.NewHandler(Echo{})); err != nil {
		tb.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		tb.Fatalf("%s: start: %v", p.name, err)
	}
	tb.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			tb.Errorf("%s: stop: %v", p.name, err)
		}
	})

	cli := client.NewClient(
		client.Transport(clientEnd),
		client.Broker(broker.NewMemoryBroker()),
		client.PoolSize(2*n),
		client.PoolTTL(time.Hour),
		client.Retries(0), // a call that only a retry saves is a failure here
		client.WithLogger(log),
	)
	tb.Cleanup(func() {
		// go-micro's client has no Close: it closes its pool when the pool's
		// settings change.
		if err := cli.Init(client.PoolTTL(time.Minute)); err != nil {
			tb.Errorf("%s: close pool: %v", p.name, err)
		}
	})

	// The address is given with each call: finding it is not the transport's work.
	address := client.WithAddress(srv.Options().Address)
	body := string(payload(size))
	call := func(seq uint64) error {
		req := cli.NewRequest(service, "Echo.Call", &Request{Seq: seq, Payload: body})
		var rsp Response
		if err := cli.Call(tb.Context(), req, &rsp, address); err != nil {
			return err
		}
		if rsp.Seq != seq {
			return fmt.Errorf("answer to request %d came for request %d", rsp.Seq, seq)
		}
		return checkEcho(rsp.Payload, body)
	}
	ops := make([]op, n)
	for i := range ops {
		ops[i] = call
	}
	return ops
}
