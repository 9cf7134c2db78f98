package bench

import (
	"fmt"
	"testing"

	"go-micro.dev/v4/transport"
)

// service is the name of the go-micro service that every peer serves.
const service = "bench"

// loopback is where every server listens. Clients dial the literal address, so
// that no peer pays for name resolution.
const loopback = "127.0.0.1:0"

// A conn is one logical connection to an echo server: what go-micro calls a
// socket, and for raw QUIC one stream. It serves one exchange at a time.
type conn interface {
	// exchange sends body and returns the echo, which is valid until the next call.
	exchange(body []byte) ([]byte, error)
	Close() error
}

// A peer is one way to carry a request and its response. Exactly one of ends and
// raw is set.
type peer struct {
	name string
	// ends returns both ends as go-micro transports, ready to listen and to dial.
	ends func(tb testing.TB) (server, client transport.Transport)
	// raw starts an echo server below go-micro and returns how to reach it.
	raw func(tb testing.TB) (dial func() (conn, error))
}

// peers lists everybody who takes part, ours first and the limit last.
func peers() []peer {
	return []peer{
		{name: "quic", ends: signet},
		{name: "http", ends: httpPlain},
		{name: "http-mtls", ends: httpMutualTLS},
		{name: "memory", ends: memory},
		{name: "grpc-mtls", ends: grpcMutualTLS},
		{name: "raw-quic", raw: rawQUIC(listenPlain)},
		{name: "raw-quic-gro", raw: rawQUIC(listenGRO)},
	}
}

// plugins are the peers that go-micro can run RPC over.
func plugins() []peer {
	var ps []peer
	for _, p := range peers() {
		if p.ends != nil {
			ps = append(ps, p)
		}
	}
	return ps
}

// serve starts the peer's echo server, which stops when tb ends.
func (p peer) serve(tb testing.TB) (dial func() (conn, error)) {
	tb.Helper()
	if p.raw != nil {
		return p.raw(tb)
	}
	server, client := p.ends(tb)
	listener, err := server.Listen(loopback)
	if err != nil {
		tb.Fatalf("%s: listen: %v", p.name, err)
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		// Accept's error after Close differs from transport to transport and
		// says nothing: a server that stopped early fails the exchanges.
		_ = listener.Accept(echoSocket)
	}()
	tb.Cleanup(func() {
		if err := listener.Close(); err != nil {
			tb.Errorf("%s: close listener: %v", p.name, err)
		}
		<-accepting
	})
	return func() (conn, error) {
		// go-micro's client dials every socket as a stream, unary calls too.
		c, err := client.Dial(listener.Addr(), transport.WithStream())
		if err != nil {
			return nil, err
		}
		return &socketConn{sock: c, header: requestHeader()}, nil
	}
}

// requestHeader is what an echo carries besides its body: two of the seven headers
// of a go-micro request, one of them the name that Signet checks at each Send.
func requestHeader() map[string]string {
	return map[string]string{
		"Content-Type":  "application/octet-stream",
		"Micro-Service": service,
	}
}

// echoSocket answers each message with its body until the peer leaves.
func echoSocket(sock transport.Socket) {
	// Close has nobody to report to, and the client checks what it received.
	defer func() { _ = sock.Close() }()
	header := requestHeader()
	for {
		var m transport.Message
		if sock.Recv(&m) != nil {
			return
		}
		if sock.Send(&transport.Message{Header: header, Body: m.Body}) != nil {
			return
		}
	}
}

// socketConn is a conn over a go-micro transport.
type socketConn struct {
	sock   transport.Client
	header map[string]string
}

func (c *socketConn) exchange(body []byte) ([]byte, error) {
	if err := c.sock.Send(&transport.Message{Header: c.header, Body: body}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var m transport.Message
	if err := c.sock.Recv(&m); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return m.Body, nil
}

func (c *socketConn) Close() error { return c.sock.Close() }
