package quic_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
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
