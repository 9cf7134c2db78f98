package encrypted_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	raw "go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/server"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-signet/signet/codec/encrypted"
)

// Greeter is a handler that counts.
type Greeter struct {
	ticks  chan struct{} // for Push
	pushed chan error
	calls  atomic.Int64
	caller atomic.Pointer[string]
}

func (g *Greeter) note(ctx context.Context) {
	g.calls.Add(1)
	who := "nobody"
	if peer, ok := encrypted.Caller(ctx); ok {
		who = peer.ID
	}
	g.caller.Store(&who)
}

// Hello answers a call.
func (g *Greeter) Hello(ctx context.Context, req *Request, rsp *Response) error {
	g.note(ctx)
	rsp.Greeting = "Hello " + req.Name
	return nil
}

// Fail answers with an error.
func (g *Greeter) Fail(ctx context.Context, req *Request, _ *Response) error {
	g.note(ctx)
	return errors.New("no such name: " + req.Name)
}

// Unencodable answers with what JSON cannot hold.
func (g *Greeter) Unencodable(ctx context.Context, _ *Request, rsp *Unencodable) error {
	g.note(ctx)
	rsp.F = func() {}
	return nil
}

// Unencodable is no JSON.
type Unencodable struct{ F func() }

// Bytes echoes a frame.
func (g *Greeter) Bytes(ctx context.Context, req *encrypted.Frame, rsp *encrypted.Frame) error {
	g.note(ctx)
	rsp.Data = append([]byte("got "), req.Data...)
	return nil
}

// RawAnswer answers with what go-micro sends past every codec.
func (g *Greeter) RawAnswer(ctx context.Context, _ *Request, rsp *raw.Frame) error {
	g.note(ctx)
	rsp.Data = []byte("Rumpelstiltskin")
	return nil
}

// RawRequest takes what go-micro does not have decoded.
func (g *Greeter) RawRequest(ctx context.Context, _ *raw.Frame, _ *Response) error {
	g.note(ctx)
	return nil
}

// RawStream sends what go-micro sends past every codec.
func (g *Greeter) RawStream(_ context.Context, stream server.Stream) error {
	if err := stream.Recv(new(raw.Frame)); err == nil {
		return nil
	}
	if err := stream.Send(&raw.Frame{Data: []byte("Rumpelstiltskin")}); err != nil {
		return fmt.Errorf("as it should be: %w", err)
	}
	return nil
}

// Proto echoes a protocol buffer.
func (g *Greeter) Proto(ctx context.Context, req *wrapperspb.StringValue, rsp *wrapperspb.StringValue) error {
	g.note(ctx)
	rsp.Value = "Hello " + req.Value
	return nil
}

// Slice echoes bytes.
func (g *Greeter) Slice(ctx context.Context, req *[]byte, rsp *[]byte) error {
	g.note(ctx)
	*rsp = append([]byte("got "), *req...)
	return nil
}

// Chat answers each message of a stream.
func (g *Greeter) Chat(ctx context.Context, stream server.Stream) error {
	defer stream.Close()
	g.note(ctx)
	for {
		var req Request
		if err := stream.Recv(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		g.calls.Add(1)
		if err := stream.Send(&Response{Greeting: "Hello " + req.Name}); err != nil {
			return err
		}
	}
}

// Count sends that many messages, as fast as it can.
func (g *Greeter) Count(_ context.Context, stream server.Stream) error {
	g.note(stream.Context())
	var req Request
	if err := stream.Recv(&req); err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(req.Name, &n); err != nil {
		return err
	}
	for i := range n {
		if err := stream.Send(&Response{Greeting: fmt.Sprintf("message %d %0*d", i, i%37, 0)}); err != nil {
			return err
		}
	}
	return nil
}

// Push sends a message at each tick, and says what became of it.
func (g *Greeter) Push(_ context.Context, stream server.Stream) error {
	if err := stream.Recv(new(Request)); err != nil {
		return err
	}
	for range g.ticks {
		err := stream.Send(&Response{Greeting: "tick"})
		g.pushed <- err
		if err != nil {
			return err
		}
	}
	return nil
}
