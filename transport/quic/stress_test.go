package quic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/transport"
)

// TestAnyOrder: sends, receives and closes in any order, on both sides, by many
// at once, neither hang nor hand anybody what was sent to another.
func TestAnyOrder(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter", quic.Timing(quic.Timeouts{Write: time.Second, Drain: 100 * time.Millisecond})), func(s transport.Socket) {
		for i := 0; ; i++ {
			var m transport.Message
			if s.Recv(&m) != nil {
				return
			}
			switch {
			case i%5 == 4:
				go s.Close()
			case i%7 == 6:
				return
			}
			if s.Send(&m) != nil {
				return
			}
		}
	})
	client := f.transport("caller", transport.Timeout(500*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for n := 0; ctx.Err() == nil; n++ {
				c, err := client.Dial(l.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				prefix := fmt.Sprintf("%d/%d/", w, n)
				var users sync.WaitGroup
				for u := range 4 {
					op := rng.IntN(4)
					size := []int{1, 1000, 40_000, 200_000}[rng.IntN(4)]
					users.Go(func() {
						switch op {
						case 0:
							body := append([]byte(prefix), make([]byte, size)...)
							_ = c.Send(call("greeter", string(body)))
						case 1, 2:
							var m transport.Message
							if err := c.Recv(&m); err == nil && string(m.Body[:len(prefix)]) != prefix {
								t.Errorf("socket %s got %.20q", prefix, m.Body)
							}
						case 3:
							if u > 1 {
								_ = c.Close()
							}
						}
					})
				}
				users.Wait()
				if err := c.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				var m transport.Message
				if err := c.Recv(&m); err != io.EOF {
					t.Errorf("Recv after Close: %v, want io.EOF", err)
				}
				if err := c.Send(call("greeter", "late")); !errors.Is(err, quic.ErrClosed) {
					t.Errorf("Send after Close: %v, want ErrClosed", err)
				}
			}
		})
	}
	within(t, 30*time.Second, "the end of all operations", workers.Wait)
	mustEcho(t, dial(t, client, l.Addr()), call("greeter", "after it all"))
}

// TestCloseOfTransport: the end of a transport ends what others still do with
// it, and leaves no goroutine, socket or timer.
func TestCloseOfTransport(t *testing.T) {
	f := newFleet(t)
	before := runtime.NumGoroutine()
	for range 5 {
		serverSide := quic.NewTransport(transport.Logger(newTestLogger(t)), quic.Identity(f.issue("greeter")), quic.Timing(quic.Timeouts{Drain: 100 * time.Millisecond}))
		client := quic.NewTransport(transport.Logger(newTestLogger(t)), quic.Identity(f.issue("caller")))
		l, err := serverSide.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan error, 1)
		go func() { accepted <- l.Accept(echo) }()
		var users sync.WaitGroup
		for range 20 {
			c, err := client.Dial(l.Addr())
			if err != nil {
				t.Fatal(err)
			}
			mustEcho(t, c, call("greeter", "hi"))
			users.Go(func() { // and never closes it
				var m transport.Message
				if err := c.Recv(&m); err == nil {
					t.Error("a message from nowhere")
				}
				if err := c.Send(call("greeter", "late")); err == nil {
					t.Error("a call after Close of the transport")
				}
			})
		}
		for _, tr := range []transport.Transport{client, serverSide} {
			within(t, 5*time.Second, "Close", func() {
				if err := tr.(io.Closer).Close(); err != nil {
					t.Error(err)
				}
				if err := tr.(io.Closer).Close(); err != nil {
					t.Error(err)
				}
			})
			if _, err := tr.Dial(l.Addr()); !errors.Is(err, quic.ErrClosed) {
				t.Errorf("Dial: got %v, want ErrClosed", err)
			}
			if _, err := tr.Listen("127.0.0.1:0"); !errors.Is(err, quic.ErrClosed) {
				t.Errorf("Listen: got %v, want ErrClosed", err)
			}
		}
		within(t, 5*time.Second, "the end of the sockets", users.Wait)
		if err := <-accepted; err != nil {
			t.Errorf("Accept: %v", err)
		}
		_, _ = client, l
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestInitBesideCalls: new options come into force without failing a call.
func TestInitBesideCalls(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	client := f.transport("caller")
	goroutines := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			pooled, err := client.Dial(l.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer pooled.Close()
			for i := 0; ctx.Err() == nil; i++ {
				c := pooled
				if i%2 == 0 {
					if c, err = client.Dial(l.Addr()); err != nil {
						t.Errorf("Dial: %v", err)
						return
					}
				}
				body := fmt.Sprint(w, i)
				got, err := roundTrip(c, call("greeter", body))
				if err != nil || string(got.Body) != body {
					t.Errorf("got %q, %v", got.Body, err)
					return
				}
				if c != pooled {
					_ = c.Close()
				}
			}
		})
	}
	for ctx.Err() == nil {
		if err := client.Init(quic.Via("edge")); err != nil {
			t.Error(err)
		}
		c, err := client.Dial(l.Addr())
		if err != nil {
			t.Error(err)
			break
		}
		_ = c.Close()
	}
	workers.Wait()
	eventually(t, "earlier options leave no goroutines", func() bool { return runtime.NumGoroutine() < goroutines+30 })
}

// TestReplacedServer: a socket that is used again after another service took the
// address of its server sends nothing to it.
func TestReplacedServer(t *testing.T) {
	f := newFleet(t)
	short := quic.Timing(quic.Timeouts{Drain: 100 * time.Millisecond})
	greeter, err := f.transport("greeter", short).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() { accepted <- greeter.Accept(echo) }()
	client := f.transport("caller")
	used, unused := dial(t, client, greeter.Addr()), dial(t, client, greeter.Addr())
	mustEcho(t, used, call("greeter", "secret of before"))
	within(t, 10*time.Second, "Close", func() { _ = greeter.Close() })
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	rec := newRecorder()
	serveAt(t, f.transport("billing", short), greeter.Addr(), rec.handler)

	for name, c := range map[string]transport.Client{"used": used, "unused": unused, "new": dial(t, client, greeter.Addr())} {
		if err := c.Send(call("greeter", "secret")); !errors.Is(err, quic.ErrWrongService) {
			t.Errorf("%s: got %v, want ErrWrongService", name, err)
		}
	}
	if _, messages := rec.seen(); len(messages) != 0 {
		t.Errorf("the other service got %v", messages)
	}
	mustEcho(t, used, call("billing", "meant for it"))
	if _, messages := rec.seen(); len(messages) != 1 {
		t.Errorf("the other service got %v, want the call to it alone", messages)
	}
}

// TestCloseWhileDialling: Close ends at once a Send that waits for a server that
// has gone.
func TestCloseWhileDialling(t *testing.T) {
	f := newFleet(t)
	pc := newCutConn(t)
	l := serveAt(t, f.transport("greeter", quic.Timing(quic.Timeouts{Drain: 100 * time.Millisecond})), "", echo, quic.ListenOn(pc))
	client := f.transport("caller", quic.Timing(quic.Timeouts{Handshake: time.Minute}))
	c := dial(t, client, l.Addr(), transport.WithTimeout(0))
	mustEcho(t, c, call("greeter", "one"))
	pc.cut()
	if err := client.Init(); err != nil { // the socket needs a new connection
		t.Fatal(err)
	}
	if _, err := client.Dial(l.Addr(), transport.WithTimeout(time.Millisecond)); !errors.Is(err, quic.ErrUnreachable) {
		t.Fatalf("got %v, want ErrUnreachable", err)
	}
	other := make(chan error, 1)
	go func() { _, err := client.Dial(l.Addr(), transport.WithTimeout(0)); other <- err }()
	sent := make(chan error, 1)
	go func() { sent <- c.Send(call("greeter", "two")) }()
	within(t, 5*time.Second, "Close", func() { _ = c.Close() })
	within(t, 5*time.Second, "Send", func() {
		if err := <-sent; !errors.Is(err, quic.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
	if err := client.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	within(t, 5*time.Second, "Dial", func() {
		if err := <-other; !errors.Is(err, quic.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// TestAbandonedDial: a dial that is given up fails those alone who gave it up.
func TestAbandonedDial(t *testing.T) {
	f := newFleet(t)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	client := f.transport("caller", quic.Timing(quic.Timeouts{Handshake: time.Minute}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				_, err := client.Dial(dead.LocalAddr().String(), transport.WithTimeout(time.Duration(1+(i+j)%3)*time.Millisecond))
				if !errors.Is(err, quic.ErrUnreachable) {
					t.Errorf("got %v, want ErrUnreachable", err)
				}
			}
		})
	}
	within(t, 20*time.Second, "400 dials", wg.Wait)
}
