package quic_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"go-micro.dev/v4/transport"
)

// Hostile peers of these tests hold valid certificates and speak through
// quic-go itself, so that they can say what this transport never would.

// tlsConfig is what a raw peer of the fleet uses.
func (f *fleet) tlsConfig(service string) *tls.Config {
	f.t.Helper()
	cert, err := f.issue(service).TLSCertificate()
	if err != nil {
		f.t.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{*cert},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true,
		NextProtos:         []string{"signet/1"},
	}
}

// rawClient is a connection to one of our listeners.
type rawClient struct {
	*quicgo.Conn
	t *testing.T
}

// dialRaw connects and waits until the listener has accepted the client.
func dialRaw(t *testing.T, addr string, tlsConf *tls.Config, conf *quicgo.Config) rawClient {
	t.Helper()
	conn, err := quicgo.DialAddr(t.Context(), addr, tlsConf, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	if _, err := conn.AcceptUniStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	return rawClient{conn, t}
}

// send opens a stream and writes b, which begins with the type of the stream. The
// peer may refuse it before it is complete.
func (c rawClient) send(b []byte) *quicgo.Stream {
	c.t.Helper()
	s, err := c.OpenStreamSync(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var refused *quicgo.StreamError
	if _, err := s.Write(b); err != nil && !errors.As(err, &refused) {
		c.t.Fatal(err)
	}
	return s
}

// mustEcho makes sure that the connection still carries messages.
func (c rawClient) mustEcho(body string) {
	c.t.Helper()
	want := frame(nil, []byte(body))
	s := c.send(onStream(want))
	defer s.CancelRead(0)
	defer s.Close()
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	// The answer carries the reserved header of the server's process nowhere.
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != string(want) {
		c.t.Fatalf("got %q, %v", got, err)
	}
}

// rawServer accepts connections and hands each to serve, in a goroutine of its
// own. It returns its address, and a count of the connections.
func (f *fleet) rawServer(service string, serve func(*quicgo.Conn)) (addr string, conns *atomic.Int64) {
	f.t.Helper()
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	tr := &quicgo.Transport{Conn: pc}
	l, err := tr.Listen(f.tlsConfig(service), &quicgo.Config{})
	if err != nil {
		f.t.Fatal(err)
	}
	conns = new(atomic.Int64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			conns.Add(1)
			all.Go(func() { serve(conn) })
		}
	})
	f.t.Cleanup(func() {
		_ = l.Close()
		_ = tr.Close() // ends the connections, and with them serve
		_ = pc.Close()
		all.Wait()
	})
	return pc.LocalAddr().String(), conns
}

// control opens the control stream of a raw server and writes b on it.
func control(conn *quicgo.Conn, b []byte) *quicgo.SendStream {
	s, err := conn.OpenUniStream()
	if err == nil {
		_, _ = s.Write(b)
	}
	return s
}

// echoRaw answers every stream's first message with reply, and then does nothing
// more until the connection ends.
func echoRaw(conn *quicgo.Conn, reply func(*quicgo.Stream)) {
	for {
		s, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			var b [1]byte
			if _, err := s.Read(b[:]); err == nil {
				reply(s)
			}
		}()
	}
}

// ready is the beginning of a control stream.
func ready(headerBytes, headers, bodyBytes uint64) []byte {
	return append([]byte{0x00}, controlFrame(0x01, varints(headerBytes, headers, bodyBytes))...)
}

var (
	usualReady = ready(1<<20, 1000, 64<<20)
	goAway     = controlFrame(0x02, nil)
)

func controlFrame(kind uint64, payload []byte) []byte {
	return append(varints(kind, uint64(len(payload))), payload...)
}

// onStream puts the type of a message stream before b.
func onStream(b []byte) []byte { return append([]byte{0x01}, b...) }

// frame is a message with that header block.
func frame(headers, body []byte) []byte {
	b := varints(uint64(len(headers)), uint64(len(body)))
	return append(append(b, headers...), body...)
}

// field is a header whose name is spelled out.
func field(name, value string) []byte {
	b := append(varints(2*uint64(len(name))), name...)
	return append(append(b, varints(uint64(len(value)))...), value...)
}

// coded is a header whose name is that entry of the static table.
func coded(entry uint64, value string) []byte {
	return append(varints(2*entry+1, uint64(len(value))), value...)
}

func varints(vs ...uint64) []byte {
	var b []byte
	for _, v := range vs {
		b = quicvarint.Append(b, v)
	}
	return b
}

// heap is the memory in use once what can go is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// recorder is a handler that echoes, and keeps what arrived and how each socket
// ended.
type recorder struct {
	mu       sync.Mutex
	sockets  int
	messages []transport.Message
	ended    chan error
}

func newRecorder() *recorder { return &recorder{ended: make(chan error, 1<<16)} }

func (r *recorder) handler(s transport.Socket) {
	r.mu.Lock()
	r.sockets++
	r.mu.Unlock()
	for {
		var m transport.Message
		err := s.Recv(&m)
		if err != nil {
			r.ended <- err
			return
		}
		r.mu.Lock()
		r.messages = append(r.messages, m)
		r.mu.Unlock()
		if err := s.Send(&transport.Message{Body: m.Body}); err != nil {
			r.ended <- err
			return
		}
	}
}

func (r *recorder) seen() (sockets int, messages []transport.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets, append([]transport.Message(nil), r.messages...)
}

// end waits for the end of a socket.
func (r *recorder) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the server's socket did not end")
		return nil
	}
}
