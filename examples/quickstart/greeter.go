package main

import (
	"context"
	"sync/atomic"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/server"
)

// Request is what a caller asks.
type Request struct {
	Name string `json:"name"`
}

// Response is the answer.
type Response struct {
	Greeting string `json:"greeting"`
}

// Greeter is an ordinary go-micro handler. It also keeps what the story checks:
// how often it ran, and who called.
type Greeter struct {
	onCall func(endpoint, name, caller string) // may be nil

	calls      atomic.Int64
	lastCaller atomic.Pointer[string]
	lastHeader atomic.Pointer[metadata.Metadata]
}

// Hello answers one call.
func (g *Greeter) Hello(ctx context.Context, req *Request, rsp *Response) error {
	g.note(ctx, "Hello", req.Name)
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// Chat answers each message of a stream, until the caller ends it.
func (g *Greeter) Chat(ctx context.Context, stream server.Stream) error {
	defer stream.Close()
	for {
		var req Request
		if err := stream.Recv(&req); err != nil {
			return nil // the caller is done, or gone
		}
		g.note(ctx, "Chat", req.Name)
		if err := stream.Send(&Response{Greeting: "Hello " + req.Name}); err != nil {
			return err
		}
	}
}

func (g *Greeter) note(ctx context.Context, endpoint, name string) {
	g.calls.Add(1)
	caller := "somebody unknown"
	if peer, ok := identity.PeerFromContext(ctx); ok {
		caller = peer.ID
	} else if peer, ok := encrypted.Caller(ctx); ok {
		caller = peer.ID
	}
	g.lastCaller.Store(&caller)
	if md, ok := metadata.FromContext(ctx); ok {
		g.lastHeader.Store(&md)
	}
	if g.onCall != nil {
		g.onCall(endpoint, name, caller)
	}
}

// sawCaller is who called last, as the handler learned it.
func (g *Greeter) sawCaller() string {
	if p := g.lastCaller.Load(); p != nil {
		return *p
	}
	return "nobody"
}
