package quic_test

import (
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
	"go-micro.dev/v4/util/pool"
)

// TestTimeoutInsideMessage: a socket whose Recv ran out of time within a message
// is never read again. The rest of the message could otherwise pass for the next
// one, made up by whoever wrote the body.
func TestTimeoutInsideMessage(t *testing.T) {
	smuggled := frame(nil, []byte("smuggled"))
	for name, half := range map[string][]byte{
		"in lengths":      varints(10)[:1],
		"before headers":  varints(uint64(len(smuggled)), 0),
		"in headers":      append(varints(uint64(1+len(smuggled)), 0), 0),
		"before the body": varints(0, uint64(len(smuggled))),
		"in the body":     append(varints(0, uint64(1+len(smuggled))), 'x'),
		"in a large body": append(varints(0, uint64(200_000+len(smuggled))), make([]byte, 200_000)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			timedOut := make(chan struct{})
			addr, _ := f.rawServer("greeter", func(conn *quicgo.Conn) {
				control(conn, usualReady)
				echoRaw(conn, func(s *quicgo.Stream) {
					_, _ = s.Write(half)
					<-timedOut
					_, _ = s.Write(smuggled)
					_, _ = s.Write(smuggled)
				})
			})
			c := dial(t, f.transport("caller", transport.Timeout(300*time.Millisecond)), addr)
			_, err := roundTrip(c, call("greeter", "one"))
			close(timedOut)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v, want a timeout", err)
			}
			var m transport.Message
			if err := c.Recv(&m); !errors.Is(err, quic.ErrPoisoned) {
				t.Errorf("Recv: got %q, %v, want ErrPoisoned", m.Body, err)
			}
			if err := c.Send(call("greeter", "two")); !errors.Is(err, quic.ErrPoisoned) {
				t.Errorf("Send: got %v, want ErrPoisoned", err)
			}
		})
	}
}

// TestLateAnswer: an answer that comes after its call was given up reaches no
// later call, whether go-micro's pool closed the socket or kept it.
func TestLateAnswer(t *testing.T) {
	f := newFleet(t)
	late := make(chan struct{})
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		for {
			var m transport.Message
			if s.Recv(&m) != nil {
				return
			}
			if string(m.Body) == "slow" {
				<-late
			}
			if s.Send(&m) != nil {
				return
			}
		}
	})
	tr := f.transport("caller", transport.Timeout(200*time.Millisecond))
	p := pool.NewPool(pool.Size(10), pool.TTL(time.Minute), pool.Transport(tr))
	defer p.Close()
	for range 5 {
		c, err := p.Get(l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, err = roundTrip(c, call("greeter", "slow"))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v, want a timeout", err)
		}
		if err := p.Release(c, err); err != nil {
			t.Error(err)
		}
	}
	close(late)
	for i := range 50 {
		c, err := p.Get(l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, c, call("greeter", strconv.Itoa(i)))
		if err := p.Release(c, nil); err != nil {
			t.Error(err)
		}
	}
}
