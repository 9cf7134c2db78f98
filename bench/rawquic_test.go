package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/go-signet/signet/internal/udp"
)

// maxRawBody bounds what the raw peer reads, as any server must.
const maxRawBody = 1 << 20

// rawQUIC is the limit: what quic-go does with nothing of ours on top. One
// connection, one long-lived stream for each logical connection, and for each
// message a four-byte length and the body, in one Write, into buffers that are
// used again. listen opens the UDP socket of either end.
func rawQUIC(listen func(addr string) (net.PacketConn, error)) func(tb testing.TB) func() (conn, error) {
	return func(tb testing.TB) func() (conn, error) {
		tb.Helper()
		serverTLS, clientTLS := mutualTLS(tb)
		server, addr := startRawQUIC(tb, listen, serverTLS)

		clientTLS.NextProtos = serverTLS.NextProtos
		client := rawTransport(tb, listen)
		connection, err := client.Dial(tb.Context(), addr, clientTLS, rawConfig())
		if err != nil {
			tb.Fatalf("raw quic: dial: %v", err)
		}
		tb.Cleanup(func() {
			if err := errors.Join(connection.CloseWithError(0, ""), client.Close()); err != nil {
				tb.Errorf("raw quic: close client: %v", err)
			}
			server()
		})
		return func() (conn, error) {
			stream, err := connection.OpenStreamSync(context.Background())
			if err != nil {
				return nil, err
			}
			return &rawConn{stream: stream, frames: newFrames(stream)}, nil
		}
	}
}

// listenGRO opens the socket that Signet uses, which reads with receive offload.
func listenGRO(addr string) (net.PacketConn, error) { return udp.Listen("udp", addr) }

// listenPlain opens the socket that quic-go opens by itself.
func listenPlain(addr string) (net.PacketConn, error) { return net.ListenPacket("udp", addr) }

func rawTransport(tb testing.TB, listen func(addr string) (net.PacketConn, error)) *quic.Transport {
	tb.Helper()
	pc, err := listen(loopback)
	if err != nil {
		tb.Fatalf("raw quic: open socket: %v", err)
	}
	tb.Cleanup(func() {
		if err := pc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			tb.Errorf("raw quic: close socket: %v", err)
		}
	})
	return &quic.Transport{Conn: pc}
}

// rawConfig has windows wide enough that 64 bodies of 64 KiB are never held back,
// and streams for every logical connection a run opens.
func rawConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow:     1 << 20,
		InitialConnectionReceiveWindow: 16 << 20,
		MaxConnectionReceiveWindow:     32 << 20,
		MaxIncomingStreams:             4096,
	}
}

// startRawQUIC runs the echo server; stop ends it and waits for its goroutines.
func startRawQUIC(tb testing.TB, listen func(addr string) (net.PacketConn, error), config *tls.Config) (stop func(), addr net.Addr) {
	tb.Helper()
	config.NextProtos = []string{"raw-echo"}
	server := rawTransport(tb, listen)
	listener, err := server.Listen(config, rawConfig())
	if err != nil {
		tb.Fatalf("raw quic: listen: %v", err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		connection, err := listener.Accept(context.Background())
		if err != nil {
			return
		}
		for {
			stream, err := connection.AcceptStream(context.Background())
			if err != nil {
				return
			}
			go echoStream(stream)
		}
	}()
	stop = func() {
		if err := errors.Join(listener.Close(), server.Close()); err != nil {
			tb.Errorf("raw quic: close server: %v", err)
		}
		<-served
	}
	return stop, listener.Addr()
}

func echoStream(stream *quic.Stream) {
	frames := newFrames(stream)
	for {
		body, err := frames.read()
		if err != nil {
			break
		}
		if frames.write(body) != nil {
			break
		}
	}
	// The client is gone or has finished: there is nobody to tell of an error.
	_ = stream.Close()
}

// rawConn is a conn over one QUIC stream.
type rawConn struct {
	stream *quic.Stream
	frames *frames
}

func (c *rawConn) exchange(body []byte) ([]byte, error) {
	if err := c.frames.write(body); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	echo, err := c.frames.read()
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return echo, nil
}

func (c *rawConn) Close() error {
	c.stream.CancelRead(0)
	return c.stream.Close()
}

// frames reads and writes bodies preceded by their length (uint32, big-endian).
type frames struct {
	r        *bufio.Reader
	w        io.Writer
	in, out  []byte
	announce [4]byte
}

func newFrames(stream io.ReadWriter) *frames {
	return &frames{r: bufio.NewReader(stream), w: stream}
}

// read returns the next body, valid until the next read.
func (f *frames) read() ([]byte, error) {
	if _, err := io.ReadFull(f.r, f.announce[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(f.announce[:]))
	if size > maxRawBody {
		return nil, fmt.Errorf("body of %d bytes exceeds %d", size, maxRawBody)
	}
	if cap(f.in) < size {
		f.in = make([]byte, size)
	}
	f.in = f.in[:size]
	_, err := io.ReadFull(f.r, f.in)
	return f.in, err
}

func (f *frames) write(body []byte) error {
	f.out = binary.BigEndian.AppendUint32(f.out[:0], uint32(len(body)))
	f.out = append(f.out, body...)
	_, err := f.w.Write(f.out)
	return err
}
