package quic_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/transport"
)

// TestCrash: a server that vanishes without a word costs the call in flight,
// not the ones after its restart.
func TestCrash(t *testing.T) {
	f := newFleet(t)
	pc := newCutConn(t)
	first := serveAt(t, f.transport("greeter"), "", echo, quic.ListenOn(pc))
	addr := first.Addr()
	client := f.transport("caller", transport.Timeout(time.Second))
	c := dial(t, client, addr)
	mustEcho(t, c, call("greeter", "one"))

	pc.cut() // from here on the first server neither hears nor speaks
	if err := c.Send(call("greeter", "into the void")); err != nil {
		t.Fatal(err)
	}
	var m transport.Message
	if err := c.Recv(&m); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want a timeout", err)
	}
	_ = c.Close()
	pc.release() // the port is free again, as after a crash
	serveAt(t, f.transport("greeter"), addr, echo)

	mustEcho(t, dial(t, client, addr), call("greeter", "two"))
}

// TestCrashIsTold: a server that comes back after a crash, with the same
// identity and at the same place, tells the clients of its former self, who then
// need not wait for a timeout.
func TestCrashIsTold(t *testing.T) {
	f := newFleet(t)
	id := f.issue("greeter")
	pc := newCutConn(t)
	first := serveAt(t, newTransport(t, quic.Identity(id)), "", echo, quic.ListenOn(pc))
	addr := first.Addr()
	c := dial(t, f.transport("caller"), addr)
	mustEcho(t, c, call("greeter", "one"))

	pc.cut()
	if err := c.Send(call("greeter", "into the void")); err != nil {
		t.Fatal(err)
	}
	pc.release()
	serveAt(t, newTransport(t, quic.Identity(id)), addr, echo)
	within(t, 10*time.Second, "the call that was in flight", func() {
		var m transport.Message
		if err := c.Recv(&m); err == nil || !strings.Contains(err.Error(), "restarted") {
			t.Errorf("got %v", err)
		}
	})
	_ = c.Close()
	mustEcho(t, dial(t, f.transport("caller"), addr), call("greeter", "two"))
}
