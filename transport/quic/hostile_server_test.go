package quic_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// TestServerThatNeverAccepts: a server that is a member of the fleet, but does
// not open its control stream as it should, fails Dial in time, with the cause.
func TestServerThatNeverAccepts(t *testing.T) {
	f := newFleet(t)
	for name, test := range map[string]struct {
		serve func(*quicgo.Conn)
		says  string
	}{
		"silence":            {func(*quicgo.Conn) {}, "did not say within"},
		"stream type alone":  {func(c *quicgo.Conn) { control(c, []byte{0x00}) }, "did not say within"},
		"half a READY":       {func(c *quicgo.Conn) { control(c, usualReady[:5]) }, "did not say within"},
		"another stream":     {func(c *quicgo.Conn) { control(c, []byte{0x07, 1, 2, 3}) }, "stream type 0x7"},
		"GOAWAY first":       {func(c *quicgo.Conn) { control(c, append([]byte{0}, goAway...)) }, "before READY"},
		"READY cut short":    {func(c *quicgo.Conn) { control(c, append([]byte{0}, controlFrame(1, varints(1, 2))...)) }, "READY"},
		"huge frame":         {func(c *quicgo.Conn) { control(c, append([]byte{0}, varints(1, 1<<62-1)...)) }, "control frame of"},
		"FIN before READY":   {func(c *quicgo.Conn) { _ = control(c, []byte{0}).Close() }, "EOF"},
		"RESET before READY": {func(c *quicgo.Conn) { control(c, []byte{0}).CancelWrite(0) }, ""},
		"closes":             {func(c *quicgo.Conn) { _ = c.CloseWithError(0, "") }, "closed the connection"},
		"READY, then closes": {func(c *quicgo.Conn) { control(c, usualReady); _ = c.CloseWithError(0, "") }, "closed the connection"},
		"READY and GOAWAY":   {func(c *quicgo.Conn) { control(c, append(bytes.Clone(usualReady), goAway...)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, conns := f.rawServer("greeter", test.serve)
			// No timeout of the user's own: what is left is ours.
			client := f.transport("caller", transport.Timeout(time.Second), quic.Timing(quic.Timeouts{Handshake: 500 * time.Millisecond}))
			within(t, 8*time.Second, "Dial and Send", func() {
				c, err := client.Dial(addr, transport.WithTimeout(0))
				if err == nil { // a READY that was good at first
					_, err = roundTrip(c, call("greeter", "x"))
					_ = c.Close()
				}
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %q", err, test.says)
				}
			})
			if n := conns.Load(); n > 4 {
				t.Errorf("%d connections for one call", n)
			}
		})
	}
}

// TestDeadlineOfDial: the timeout of one who dials counts, whatever the server
// makes of it.
func TestDeadlineOfDial(t *testing.T) {
	f := newFleet(t)
	addr, _ := f.rawServer("greeter", func(*quicgo.Conn) {})
	client := f.transport("caller", quic.Timing(quic.Timeouts{Handshake: time.Minute}))
	within(t, 5*time.Second, "Dial", func() {
		_, err := client.Dial(addr, transport.WithTimeout(200*time.Millisecond))
		if !errors.Is(err, quic.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
	})
}

// TestHostileControl: what a server says on the control stream after READY.
func TestHostileControl(t *testing.T) {
	f := newFleet(t)
	flood := bytes.Repeat(goAway, 10_000)
	garbage := append(controlFrame(0x21, []byte("for a later version")), controlFrame(1<<62-1, make([]byte, 1024))...)
	for name, test := range map[string]struct {
		then  []byte // after READY
		end   func(*quicgo.SendStream)
		keeps bool // the connection, for the call in flight
	}{
		"unknown frames":    {bytes.Repeat(garbage, 100), nil, true},
		"GOAWAY flood":      {flood, nil, true},
		"second READY":      {controlFrame(0x01, varints(1, 1, 1)), nil, false},
		"huge frame":        {varints(0x21, 1025), nil, false},
		"enormous frame":    {varints(0x21, 1<<62-1), nil, false},
		"FIN":               {nil, func(s *quicgo.SendStream) { _ = s.Close() }, false},
		"FIN inside frame":  {varints(0x21, 100), func(s *quicgo.SendStream) { _ = s.Close() }, false},
		"RESET":             {nil, func(s *quicgo.SendStream) { s.CancelWrite(7) }, false},
		"RESET after flood": {flood, func(s *quicgo.SendStream) { s.CancelWrite(7) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			attack, answered := make(chan struct{}), make(chan struct{})
			ended := make(chan error, 1)
			addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
				s := control(conn, usualReady)
				go echoRaw(conn, func(st *quicgo.Stream) {
					<-answered
					_, _ = st.Write(frame(nil, []byte("answer")))
				})
				<-attack
				_, _ = s.Write(test.then)
				if test.end != nil {
					test.end(s)
				}
				if test.keeps {
					close(answered)
				}
				<-conn.Context().Done()
				ended <- context.Cause(conn.Context())
			})
			c := dial(t, f.transport("caller"), addr)
			if err := c.Send(call("greeter", "in flight")); err != nil {
				t.Fatal(err)
			}
			close(attack)
			var m transport.Message
			within(t, 10*time.Second, "Recv", func() {
				err := c.Recv(&m)
				if test.keeps && (err != nil || string(m.Body) != "answer") {
					t.Errorf("got %q, %v", m.Body, err)
				}
				if !test.keeps && (err == nil || err == io.EOF) {
					t.Errorf("got %v, want the end of the connection", err)
				}
			})
			if name == "unknown frames" {
				return
			}
			// A GOAWAY ends the connection too, once the call is over.
			within(t, 10*time.Second, "the end of the connection", func() {
				var ae *quicgo.ApplicationError
				if err := <-ended; !errors.As(err, &ae) || !ae.Remote || (ae.ErrorCode == 0x04) == test.keeps {
					t.Errorf("got %v", err)
				}
			})
			if !test.keeps {
				close(answered)
			}
		})
	}
}

// TestEndlessGoAway: a server that says GOAWAY again and again does not keep the
// connection it is to leave.
func TestEndlessGoAway(t *testing.T) {
	f := newFleet(t)
	dialled, ended := make(chan struct{}), make(chan struct{})
	addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
		defer close(ended)
		s := control(conn, usualReady)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		<-dialled
		for conn.Context().Err() == nil {
			_, _ = s.Write(goAway)
			<-tick.C
		}
	})
	dial(t, f.transport("caller"), addr)
	close(dialled)
	within(t, 10*time.Second, "the end of the connection", func() { <-ended })
}

// TestServerOpensStreams: a server gets no stream but the control stream.
func TestServerOpensStreams(t *testing.T) {
	f := newFleet(t)
	refused := make(chan error, 2)
	addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
		control(conn, usualReady)
		_, err := conn.OpenStream()
		refused <- err
		_, err = conn.OpenUniStream()
		refused <- err
	})
	dial(t, f.transport("caller"), addr)
	for range 2 {
		var limit *quicgo.StreamLimitReachedError
		if err := <-refused; !errors.As(err, &limit) {
			t.Errorf("got %v, want a refusal", err)
		}
	}
}

// TestZeroLimits: a server that says it takes nothing is sent nothing, and the
// error says what to raise.
func TestZeroLimits(t *testing.T) {
	f := newFleet(t)
	addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
		control(conn, ready(0, 0, 0))
		echoRaw(conn, func(*quicgo.Stream) { t.Error("something was sent") })
	})
	c := dial(t, f.transport("caller"), addr)
	for range 3 {
		if err := c.Send(call("greeter", "x")); !errors.Is(err, quic.ErrTooLarge) || !strings.Contains(err.Error(), "Limits.Body") {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	}
}

// TestGarbageReply: an answer that is none fails its call with the cause, and
// the next call on the same connection works.
func TestGarbageReply(t *testing.T) {
	f := newFleet(t)
	for name, test := range map[string]struct {
		reply []byte
		end   func(*quicgo.Stream)
		want  error
	}{
		"length beyond all limits": {varints(1<<62-1, 0), nil, quic.ErrTooLarge},
		"body beyond the limit":    {varints(0, 64<<20+1), nil, quic.ErrTooLarge},
		"long form of a length":    {[]byte{0x40, 0x01, 0x00}, nil, quic.ErrMalformed},
		"unknown name":             {frame(coded(31, ""), nil), nil, quic.ErrMalformed},
		"header twice":             {frame(append(field("a", "1"), field("a", "2")...), nil), nil, quic.ErrMalformed},
		"stream type":              {onStream(frame([]byte{0x00}, nil)), nil, quic.ErrMalformed},
		"noise":                    {bytes.Repeat([]byte{0x3f}, 300), nil, quic.ErrMalformed},
		"FIN inside":               {varints(0, 10), func(s *quicgo.Stream) { _ = s.Close() }, io.ErrUnexpectedEOF},
		"RESET inside":             {varints(0, 10), func(s *quicgo.Stream) { s.CancelWrite(9) }, nil},
		"FIN at once":              {nil, func(s *quicgo.Stream) { _ = s.Close() }, io.EOF},
		"half, then nothing":       {varints(0, 10), nil, os.ErrDeadlineExceeded},
		"nothing":                  {nil, nil, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := make(chan struct{}, 1)
			first <- struct{}{}
			addr, conns := f.rawServer("greeter", func(conn *quicgo.Conn) {
				control(conn, usualReady)
				echoRaw(conn, func(s *quicgo.Stream) {
					select {
					case <-first:
						if len(test.reply) > 0 {
							_, _ = s.Write(test.reply)
						}
						if test.end != nil {
							test.end(s)
						}
					default:
						_, _ = s.Write(frame(nil, []byte("good")))
					}
				})
			})
			client := f.transport("caller", transport.Timeout(500*time.Millisecond))
			c := dial(t, client, addr)
			_, err := roundTrip(c, call("greeter", "one"))
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if test.want == quic.ErrMalformed || test.want == quic.ErrTooLarge {
				if err := c.Send(call("greeter", "again")); !errors.Is(err, quic.ErrPoisoned) {
					t.Errorf("the socket goes on: %v", err)
				}
			}
			_ = c.Close()
			mustEcho(t, dial(t, client, addr), call("greeter", "good"))
			if n := conns.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// TestServerThatAnswersTooMuch: answers that nobody asked for take no more
// memory than the flow control allows, and do not reach another socket.
func TestServerThatAnswersTooMuch(t *testing.T) {
	f := newFleet(t)
	flooding := make(chan struct{}, 1)
	flooding <- struct{}{}
	written := make(chan int, 1)
	addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
		control(conn, usualReady)
		echoRaw(conn, func(s *quicgo.Stream) {
			select {
			case <-flooding:
				_, _ = s.Write(frame(nil, []byte("one")))
				_ = s.SetWriteDeadline(time.Now().Add(time.Second))
				n, _ := s.Write(make([]byte, 64<<20))
				written <- n
			default:
				_, _ = s.Write(frame(nil, []byte("good")))
			}
		})
	})
	client := f.transport("caller")
	c := dial(t, client, addr)
	before := heap()
	mustEcho(t, c, call("greeter", "one"))
	if n := <-written; n > 4<<20 {
		t.Errorf("the client took %d bytes that it had not asked for", n)
	}
	if grown := heap() - before; grown > 64<<20+16<<20 { // what the server itself holds, and some
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	mustEcho(t, dial(t, client, addr), call("greeter", "good"))
}

// TestReasonPhrase: what a peer writes into the reason of a refusal neither
// breaks the lines of a log nor fills it.
func TestReasonPhrase(t *testing.T) {
	f := newFleet(t)
	const forged = "gone\n2026/01/01 INFO all is well \x1b[2J"
	addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
		control(conn, usualReady)
		echoRaw(conn, func(*quicgo.Stream) { _ = conn.CloseWithError(0x77, forged) })
	})
	_, err := roundTrip(dial(t, f.transport("caller"), addr), call("greeter", "x"))
	if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("got %q", err)
	}
}
