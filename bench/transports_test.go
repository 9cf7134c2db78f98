package bench

import (
	"errors"
	"io"
	"testing"

	grpcplugin "github.com/go-micro/plugins/v4/transport/grpc"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/transport"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
)

// quiet drops what go-micro logs, so that nothing but results reaches the output
// and no peer pays for a terminal.
func quiet() logger.Logger {
	return logger.NewLogger(logger.WithLevel(logger.FatalLevel), logger.WithOutput(io.Discard))
}

// signet is our transport between two identities of one authority.
func signet(tb testing.TB) (server, client transport.Transport) {
	tb.Helper()
	authority, err := identity.NewAuthority("bench.internal")
	if err != nil {
		tb.Fatal(err)
	}
	end := func(name string) transport.Transport {
		id, err := authority.Issue(name)
		if err != nil {
			tb.Fatal(err)
		}
		t := quic.NewTransport(quic.Identity(id), transport.Logger(quiet()))
		tb.Cleanup(func() {
			if err := errors.Join(t.(io.Closer).Close(), id.Close()); err != nil {
				tb.Errorf("quic: close the end of %s: %v", name, err)
			}
		})
		return t
	}
	return end(service), end("caller")
}

func httpPlain(testing.TB) (server, client transport.Transport) {
	return restoreRequestID{transport.NewHTTPTransport(transport.Logger(quiet()))},
		transport.NewHTTPTransport(transport.Logger(quiet()))
}

func httpMutualTLS(tb testing.TB) (server, client transport.Transport) {
	serverTLS, clientTLS := mutualTLS(tb)
	return restoreRequestID{transport.NewHTTPTransport(transport.TLSConfig(serverTLS), transport.Logger(quiet()))},
		transport.NewHTTPTransport(transport.TLSConfig(clientTLS), transport.Logger(quiet()))
}

func grpcMutualTLS(tb testing.TB) (server, client transport.Transport) {
	serverTLS, clientTLS := mutualTLS(tb)
	return grpcplugin.NewTransport(transport.TLSConfig(serverTLS)),
		grpcplugin.NewTransport(transport.TLSConfig(clientTLS))
}

// restoreRequestID gives the server the request ID under the key it looks for.
//
// The http transport passes headers through net/http, which turns Micro-ID into
// Micro-Id. go-micro's server then sees every request of a socket under the empty
// ID, takes a request that arrives before the previous one is filed away for part
// of it, and never answers: more often than not, one of ten thousand calls in a row
// waits for its timeout. Without this repair the http peers cannot finish a run. It
// costs one map write.
type restoreRequestID struct{ transport.Transport }

func (t restoreRequestID) Listen(addr string, opts ...transport.ListenOption) (transport.Listener, error) {
	l, err := t.Transport.Listen(addr, opts...)
	if err != nil {
		return nil, err
	}
	return restoreRequestIDListener{l}, nil
}

type restoreRequestIDListener struct{ transport.Listener }

func (l restoreRequestIDListener) Accept(handle func(transport.Socket)) error {
	return l.Listener.Accept(func(sock transport.Socket) { handle(restoreRequestIDSocket{sock}) })
}

type restoreRequestIDSocket struct{ transport.Socket }

func (s restoreRequestIDSocket) Recv(m *transport.Message) error {
	if err := s.Socket.Recv(m); err != nil {
		return err
	}
	if id, ok := m.Header["Micro-Id"]; ok {
		m.Header["Micro-ID"] = id
	}
	return nil
}
