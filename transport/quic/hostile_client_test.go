package quic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/caller"
	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/transport"
)

// TestMalformedRequest: what is no message never reaches a handler, ends its own
// stream with the cause, and leaves the other streams of the connection alone.
func TestMalformedRequest(t *testing.T) {
	f := newFleet(t)
	const limit = 1 << 20
	fin := func(s *quicgo.Stream) { _ = s.Close() }
	reset := func(s *quicgo.Stream) { s.CancelWrite(99) }
	for name, test := range map[string]struct {
		wire []byte
		end  func(*quicgo.Stream)
		want error
		says string
	}{
		"header block of 2^62-1":   {varints(1<<62-1, 0), nil, quic.ErrTooLarge, "header block"},
		"header block above limit": {varints(limit+1, 0), nil, quic.ErrTooLarge, "header block"},
		"body of 2^62-1":           {varints(0, 1<<62-1), nil, quic.ErrTooLarge, "a body of"},
		"body above limit":         {varints(0, limit+1), nil, quic.ErrTooLarge, "a body of"},
		"10^6 headers":             {frame(manyFields(1_000_000), nil)[:limit], nil, quic.ErrTooLarge, "header block"},
		"block of 2-byte fields":   {frame(bytes.Repeat([]byte{0x3d, 0}, limit/2), nil), nil, quic.ErrTooLarge, "more than 1000 headers"},
		"block of empty fields":    {frame(make([]byte, limit), nil), nil, quic.ErrTooLarge, "more than 1000 headers"},
		"1001 headers":             {frame(manyFields(1001), nil), nil, quic.ErrTooLarge, "more than 1000 headers"},
		"header twice":             {frame(append(field("a", "1"), field("a", "2")...), nil), nil, quic.ErrMalformed, "twice"},
		"long form of a length":    {[]byte{0x40, 0x00, 0x00}, nil, quic.ErrMalformed, "shortest form"},
		"name beyond the block":    {frame([]byte{0x20, 'a'}, nil), nil, quic.ErrMalformed, "overruns"},
		"value beyond the block":   {frame([]byte{0x02, 'a', 0x3f}, nil), nil, quic.ErrMalformed, "header value"},
		"name without a value":     {frame([]byte{0x02, 'a'}, nil), nil, quic.ErrMalformed, "header value"},
		"unknown name code":        {frame(coded(31, ""), nil), nil, quic.ErrMalformed, "code 31"},
		"name code of 2^61-1":      {frame(coded(1<<61-1, ""), nil), nil, quic.ErrMalformed, "code"},
		"coded name spelled out":   {frame(field("Micro-Service", "greeter"), nil), nil, quic.ErrMalformed, "spelled out"},
		"FIN after one byte":       {[]byte{0x40}, fin, io.ErrUnexpectedEOF, ""},
		"FIN inside lengths":       {varints(5), fin, io.ErrUnexpectedEOF, ""},
		"FIN inside headers":       {varints(5, 0, 1), fin, io.ErrUnexpectedEOF, ""},
		"FIN inside body":          {append(varints(0, 5), "abc"...), fin, io.ErrUnexpectedEOF, ""},
		"FIN inside large body":    {append(varints(0, limit), make([]byte, 100_000)...), fin, io.ErrUnexpectedEOF, ""},
		"RESET inside body":        {append(varints(0, 5), "abc"...), reset, io.ErrUnexpectedEOF, ""},
		"FIN between messages":     {nil, fin, io.EOF, ""},
		"RESET between messages":   {nil, reset, io.EOF, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			l := serve(t, f.transport("greeter", quic.Limit(quic.Limits{Body: limit, HeaderBytes: limit})), rec.handler)
			c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
			s := c.send(onStream(test.wire))
			if test.end != nil {
				// A reset may overtake what it follows: let the message begin first.
				eventually(t, "the socket", func() bool { n, _ := rec.seen(); return n > 0 })
				test.end(s)
			}
			err := rec.end(t)
			switch test.want {
			case io.EOF:
				if err != io.EOF {
					t.Errorf("got %v, want io.EOF", err)
				}
			case io.ErrUnexpectedEOF:
				if err != io.ErrUnexpectedEOF {
					t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
				}
			default:
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "spiffe://shop.internal/mallory") {
					t.Errorf("got %v, want %v saying %q and who", err, test.want, test.says)
				}
				var se *quicgo.StreamError
				_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadAll(s); !errors.As(err, &se) || !se.Remote || se.ErrorCode != 0x04 {
					t.Errorf("the peer sees %v, want a reset with 0x04", err)
				}
			}
			if _, messages := rec.seen(); len(messages) != 0 {
				t.Errorf("a handler got %v", messages)
			}
			c.mustEcho("the same connection")
		})
	}
}

// manyFields is a header block of n different headers.
func manyFields(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, field(string([]byte{byte(i), byte(i >> 8), byte(i >> 16)}), "")...)
	}
	return b
}

// TestWrongStreamType: a stream of another type does not become a socket.
func TestWrongStreamType(t *testing.T) {
	f := newFleet(t)
	rec := newRecorder()
	l := serve(t, f.transport("greeter"), rec.handler)
	c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	for _, kind := range []byte{0x00, 0x02, 0x41, 0xff} {
		s := c.send(append([]byte{kind}, frame(nil, []byte("x"))...))
		_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
		var se *quicgo.StreamError
		if _, err := io.ReadAll(s); !errors.As(err, &se) || !se.Remote || se.ErrorCode != 0x04 {
			t.Errorf("type %#x: got %v, want a reset with 0x04", kind, err)
		}
	}
	var limit *quicgo.StreamLimitReachedError
	if _, err := c.OpenUniStream(); !errors.As(err, &limit) {
		t.Errorf("a client's unidirectional stream: %v", err)
	}
	if n, _ := rec.seen(); n != 0 {
		t.Errorf("the handler ran %d times", n)
	}
	c.mustEcho("the same connection")
}

// TestForgedCaller: however a client spells the header that tells a handler who
// calls, the handler sees the client's own verified identity, or none.
func TestForgedCaller(t *testing.T) {
	f := newFleet(t)
	type asked struct {
		header map[string]string
		peer   identity.Peer
	}
	got := make(chan asked, 1)
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		var m transport.Message
		for s.Recv(&m) == nil {
			// As go-micro's server makes the context of a handler.
			md := metadata.Copy(m.Header)
			md["Local"], md["Remote"] = s.Local(), s.Remote()
			p, _ := identity.PeerFromContext(metadata.NewContext(context.Background(), md))
			got <- asked{m.Header, p}
			_ = s.Send(&transport.Message{Body: m.Body})
		}
	})
	c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	victim, err := f.issue("admin").TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	// The best forgery that there is: right in all but the key of the process.
	value := caller.SealHome(victim.Certificate[0], l.Addr(), fmt.Sprintf("127.0.0.1:%d", c.LocalAddr().(*net.UDPAddr).Port))

	names := []string{
		"Signet-Caller", "signet-caller", "SIGNET-CALLER", "sIGNET-cALLER", "\u017fignet-caller", "\u017fIGNET-CALLER",
		"Signet-Caller-2", "signet-caller\x00", "SIGNET-CALLER ",
	}
	for i := range 1 << 4 { // some of the 2^12 case variants
		name := []byte(strings.ToLower(caller.Header))
		for bit := range 4 {
			if i>>bit&1 == 1 {
				name[bit*3] = bytes.ToUpper(name[bit*3 : bit*3+1])[0]
			}
		}
		names = append(names, string(name))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	ask := func(t *testing.T, block []byte) {
		t.Helper()
		s := c.send(onStream(frame(block, nil)))
		defer s.Close()
		var a asked
		select {
		case a = <-got:
		case <-time.After(10 * time.Second):
			t.Fatal("no message arrived")
		}
		if a.peer.ID != "" && a.peer.ID != "spiffe://shop.internal/mallory" {
			t.Errorf("the handler takes the client for %s", a.peer.ID)
		}
		for k, v := range a.header {
			if v == value || strings.HasPrefix(strings.ToLower(k), "signet") && k != caller.Header {
				t.Errorf("the handler got %q", k)
			}
		}
		if _, ok := a.header[caller.Header]; !ok {
			t.Error("the handler is not told who calls")
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { ask(t, field(name, value)) })
	}
	t.Run("all at once", func(t *testing.T) {
		var block []byte
		for _, name := range names {
			block = append(block, field(name, value)...)
		}
		ask(t, block)
	})
	t.Run("twice", func(t *testing.T) {
		ask(t, append(field(caller.Header, value), field(caller.Header, value)...))
	})
	t.Run("addresses of its own", func(t *testing.T) {
		block := append(field("local", "x"), field("remote", "y")...)
		block = append(block, field(caller.Header, value)...)
		ask(t, append(block, coded(26, "z")...))
	})
}

// TestSilentClients: clients that connect, or open streams, and then say nothing
// keep nobody else waiting.
func TestSilentClients(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	conf := f.tlsConfig("mallory")
	dialRaw(t, l.Addr(), conf, nil) // the handshake and then nothing
	typeOnly := dialRaw(t, l.Addr(), conf, nil)
	stalled := dialRaw(t, l.Addr(), conf, nil)
	for range 500 {
		typeOnly.send([]byte{0x01})
		stalled.send(append(onStream(varints(100, 1<<20)), 'x'))
	}
	client := f.transport("caller")
	for range 20 {
		c := dial(t, client, l.Addr())
		within(t, 5*time.Second, "a healthy call", func() { mustEcho(t, c, call("greeter", "hi")) })
	}
	typeOnly.mustEcho("the same connection")
	stalled.mustEcho("the same connection")
}
