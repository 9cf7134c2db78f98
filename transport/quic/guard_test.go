package quic_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// deafConn is the socket of a client that lets its handshakes hang: it hears
// nothing, or Retry packets only.
type deafConn struct {
	net.PacketConn
	hearsRetry bool
	retries    *atomic.Int64
}

func (c deafConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(p)
		if err != nil {
			return n, addr, err
		}
		if n > 0 && p[0]&0xf0 == 0xf0 { // RFC 9000 section 17.2.5
			c.retries.Add(1)
			if c.hearsRetry {
				return n, addr, nil
			}
		}
	}
}

func (c deafConn) SetReadBuffer(int) error  { return nil }
func (c deafConn) SetWriteBuffer(int) error { return nil }

// halfOpen leaves a handshake hanging, from an address of the loopback network.
// stop gives it up.
func (f *fleet) halfOpen(from, to string, hearsRetry bool) (retries *atomic.Int64, stop func()) {
	f.t.Helper()
	pc, err := net.ListenPacket("udp", from+":0")
	if err != nil {
		f.t.Fatal(err)
	}
	target, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		f.t.Fatal(err)
	}
	c := deafConn{pc, hearsRetry, new(atomic.Int64)}
	tr := &quicgo.Transport{Conn: c}
	ctx, cancel := context.WithCancel(context.Background())
	conf := f.tlsConfig("mallory")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = tr.Dial(ctx, target, conf, nil) })
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = tr.Close()
		_ = pc.Close()
	})
	f.t.Cleanup(stop)
	return c.retries, stop
}

// TestForgedInitials: handshakes that begin with forged source addresses and are
// never answered stop no client that is there. Below a quarter of the limits no
// client is asked to prove its address.
func TestForgedInitials(t *testing.T) {
	for name, test := range map[string]struct {
		limits quic.Limits
		from   func(i int) string
	}{
		"from everywhere":   {quic.Limits{Handshakes: 16}, func(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) }},
		"from the client's": {quic.Limits{HandshakesPerHost: 16}, func(int) string { return "127.0.0.1" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			l := serve(t, f.transport("greeter", quic.Limit(test.limits), quic.Timing(quic.Timeouts{Handshake: 10 * time.Second})), echo)
			retries, stop := f.halfOpen(test.from(0), l.Addr(), false)
			mustEcho(t, dial(t, f.transport("early"), l.Addr()), call("greeter", "hi"))
			if retries.Load() != 0 {
				t.Error("a Retry without load")
			}
			stop()
			var asked []*atomic.Int64
			for i := range 40 {
				n, _ := f.halfOpen(test.from(i), l.Addr(), false)
				asked = append(asked, n)
			}
			eventually(t, "Retry packets", func() bool {
				n := 0
				for _, a := range asked {
					if a.Load() > 0 {
						n++
					}
				}
				return n >= 30
			})
			mustEcho(t, dial(t, f.transport("late"), l.Addr()), call("greeter", "hi"))
		})
	}
}

// TestHandshakeLimits: clients that are there, and let their handshakes hang, take
// what the limits allow and no more, for as long as a handshake may take.
func TestHandshakeLimits(t *testing.T) {
	for name, limits := range map[string]quic.Limits{
		"Limits.Handshakes":        {Handshakes: 8},
		"Limits.HandshakesPerHost": {HandshakesPerHost: 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			log := newTestLogger(t)
			l := serve(t, f.transport("greeter", transport.Logger(log), quic.Limit(limits), quic.Timing(quic.Timeouts{Handshake: 700 * time.Millisecond})), echo)
			var stops []func()
			for range 12 {
				_, stop := f.halfOpen("127.0.0.1", l.Addr(), true)
				stops = append(stops, stop)
			}
			eventually(t, "a refusal", func() bool { return log.contains(name + " is 8") })
			if name == "Limits.HandshakesPerHost" {
				pc, err := net.ListenPacket("udp", "127.0.2.1:0")
				if err != nil {
					t.Fatal(err)
				}
				elsewhere := f.transport("caller", quic.DialFrom(pc))
				mustEcho(t, dial(t, elsewhere, l.Addr()), call("greeter", "hi"))
			}
			for _, stop := range stops {
				stop()
			}
			client := f.transport("caller")
			eventually(t, "room for a client", func() bool {
				c, err := client.Dial(l.Addr())
				if err != nil {
					return false
				}
				defer c.Close()
				_, err = roundTrip(c, call("greeter", "hi"))
				return err == nil
			})
		})
	}
}

// TestConnectionLimits: connections above the limit are refused with a reason,
// and the end of one makes room.
func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]quic.Limits{
		"Limits.Connections":        {Connections: 3},
		"Limits.ConnectionsPerHost": {ConnectionsPerHost: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			log := newTestLogger(t)
			l := serve(t, f.transport("greeter", transport.Logger(log), quic.Limit(limits)), echo)
			var conns []rawClient
			for range 3 {
				conns = append(conns, dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil))
			}
			client := f.transport("caller")
			_, err := client.Dial(l.Addr())
			if err == nil || !strings.Contains(err.Error(), "at a limit") {
				t.Errorf("got %v", err)
			}
			if !log.contains(name + " is 3") {
				t.Error("the refusal is not logged")
			}
			for range 3 { // whatever has come and gone, the count is right
				conns[0].mustEcho("those within the limit go on")
				_ = conns[0].CloseWithError(0, "")
				var c transport.Client
				eventually(t, "room", func() bool {
					c, err = client.Dial(l.Addr())
					return err == nil
				})
				mustEcho(t, c, call("greeter", "hi"))
				if _, err := f.transport("caller").Dial(l.Addr()); err == nil {
					t.Error("one above the limit was let in")
				}
				_ = c.Close()
				_ = client.(interface{ Close() error }).Close()
				client = f.transport("caller")
				eventually(t, "room", func() bool {
					conn, err := quicgo.DialAddr(t.Context(), l.Addr(), f.tlsConfig("mallory"), nil)
					if err != nil {
						return false
					}
					if _, err := conn.AcceptUniStream(t.Context()); err != nil {
						return false
					}
					t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
					conns[0] = rawClient{conn, t}
					return true
				})
			}
		})
	}
}

// TestLogFlood: a client that fails over and over does not fill the log.
func TestLogFlood(t *testing.T) {
	f := newFleet(t)
	log := newTestLogger(t)
	l := serve(t, f.transport("greeter", transport.Logger(log)), echo)
	conf := f.tlsConfig("mallory")
	conf.NextProtos = []string{"something else"}
	begun := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if conn, err := quicgo.DialAddr(t.Context(), l.Addr(), conf, nil); err == nil {
					_ = conn.CloseWithError(0, "")
					t.Error("a connection with another protocol")
				}
			}
		})
	}
	wg.Wait()
	if !log.contains("application protocol") {
		t.Error("the cause is not logged")
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n, most := len(log.lines), 20+2+int(time.Since(begun)/time.Second); n > most {
		t.Errorf("%d lines, at most %d are due", n, most)
	}
	for _, line := range log.lines {
		if strings.ContainsAny(line, "\n\r") || len(line) > 1000 {
			t.Errorf("logged %q", line)
		}
	}
}
