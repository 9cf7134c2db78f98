package codec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
)

const service = "bench"

// Request and Response are what a call carries as JSON. They are exported because
// go-micro insists.
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

// JSON answers with what it was asked.
func (Echo) JSON(_ context.Context, req *Request, rsp *Response) error {
	rsp.Seq, rsp.Payload = req.Seq, req.Payload
	return nil
}

// Proto answers with what it was asked.
func (Echo) Proto(_ context.Context, req *wrapperspb.BytesValue, rsp *wrapperspb.BytesValue) error {
	rsp.Value = req.Value
	return nil
}

// ends are two identities, and what carries calls between them.
type ends struct {
	server, client *identity.Identity
	carriers       map[string]func(*identity.Identity) transport.Transport
}

func newEnds(tb testing.TB) *ends {
	tb.Helper()
	authority, err := identity.NewAuthority("bench.internal")
	if err != nil {
		tb.Fatal(err)
	}
	issue := func(name string) *identity.Identity {
		id, err := authority.Issue(name)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { id.Close() })
		return id
	}
	e := &ends{server: issue(service), client: issue("caller")}
	introduce := func(who, whom *identity.Identity) {
		card, err := whom.Card()
		if err == nil {
			err = who.AddCard(card)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	introduce(e.client, e.server)
	introduce(e.server, e.client)
	e.carriers = map[string]func(*identity.Identity) transport.Transport{
		"http": func(*identity.Identity) transport.Transport {
			return repaired{transport.NewHTTPTransport(transport.Logger(quiet()))}
		},
		"quic": func(id *identity.Identity) transport.Transport {
			t := quic.NewTransport(quic.Identity(id), transport.Logger(quiet()))
			tb.Cleanup(func() { t.(io.Closer).Close() })
			return t
		},
	}
	return e
}

// start starts a server and returns a client of it, encrypted or in clear.
func (e *ends) start(tb testing.TB, carrier, mode string, reg registry.Registry, inflight int) (client.Client, client.CallOption) {
	tb.Helper()
	so := []server.Option{
		server.Name(service), server.Address("127.0.0.1:0"), server.Transport(e.carriers[carrier](e.server)),
		server.Registry(reg), server.Broker(broker.NewMemoryBroker()), server.RegisterInterval(0), server.WithLogger(quiet()),
	}
	co := []client.Option{
		client.Transport(e.carriers[carrier](e.client)), client.Broker(broker.NewMemoryBroker()), client.Registry(reg),
		client.PoolSize(2 * inflight), client.PoolTTL(time.Hour), client.Retries(0), client.WithLogger(quiet()),
	}
	opts := []encrypted.Option{encrypted.Logger(quiet())}
	switch mode {
	case omitsCard:
		opts = append(opts, encrypted.OmitCard())
		fallthrough
	case encrypts:
		so = append(so, encrypted.ServerOptions(e.server, opts...)...)
		co = append(co, encrypted.ClientOptions(e.client, opts...)...)
	}
	srv := server.NewServer(so...)
	if err := srv.Handle(srv.NewHandler(Echo{})); err != nil {
		tb.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			tb.Error(err)
		}
	})
	cli := client.NewClient(co...)
	tb.Cleanup(func() {
		// The client has no Close: another pool size closes its sockets.
		if err := cli.Init(client.PoolSize(0)); err != nil {
			tb.Error(err)
		}
	})
	return cli, client.WithAddress(srv.Options().Address)
}

// encoding is one way to encode a body.
type encoding struct {
	name          string
	clear, sealed string // content types
	call          func(ctx context.Context, c client.Client, contentType string, payload string, seq uint64, at client.CallOption) error
}

var errEcho = errors.New("the echo is of something else")

var encodings = []encoding{
	{"json", "application/json", encrypted.ContentTypeJSON, func(ctx context.Context, c client.Client, contentType, payload string, seq uint64, at client.CallOption) error {
		var rsp Response
		req := c.NewRequest(service, "Echo.JSON", &Request{Seq: seq, Payload: payload}, client.WithContentType(contentType))
		if err := c.Call(ctx, req, &rsp, at); err != nil {
			return err
		}
		if rsp.Seq != seq || len(rsp.Payload) != len(payload) {
			return errEcho
		}
		return nil
	}},
	{"proto", "application/protobuf", encrypted.ContentTypeProto, func(ctx context.Context, c client.Client, contentType, payload string, seq uint64, at client.CallOption) error {
		in, out := wrapperspb.Bytes(fmt.Appendf([]byte(payload), "%d", seq)), new(wrapperspb.BytesValue)
		if err := c.Call(ctx, c.NewRequest(service, "Echo.Proto", in, client.WithContentType(contentType)), out, at); err != nil {
			return err
		}
		if string(out.Value) != string(in.Value) {
			return errEcho
		}
		return nil
	}},
}

// repaired gives the server the request ID under the key it looks for; see
// restoreRequestID one level up, which http needs to finish a run.
type repaired struct{ transport.Transport }

type repairedListener struct{ transport.Listener }

type repairedSocket struct{ transport.Socket }

func (r repaired) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	l, err := r.Transport.Listen(addr, opts...)
	if err != nil {
		return nil, err
	}
	return repairedListener{l}, nil
}

func (r repairedListener) Accept(f func(transport.Socket)) error {
	return r.Listener.Accept(func(s transport.Socket) { f(repairedSocket{s}) })
}

func (r repairedSocket) Recv(m *transport.Message) error {
	if err := r.Socket.Recv(m); err != nil {
		return err
	}
	if id, ok := m.Header["Micro-Id"]; ok {
		m.Header["Micro-ID"] = id
	}
	return nil
}

// quiet is a logger that says nothing: go-micro's writes among the results.
func quiet() logger.Logger {
	return logger.NewLogger(logger.WithLevel(logger.FatalLevel), logger.WithOutput(io.Discard))
}
