package quic_test

import (
	"errors"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/transport"
)

// TestWrongService: a member of the fleet that is not the called service gets
// nothing, whatever address it answers at.
func TestWrongService(t *testing.T) {
	f := newFleet(t)
	var handler called
	l := serve(t, f.transport("billing"), handler.handler)
	client := f.transport("caller")

	refused := func(t *testing.T, tr transport.Transport, m *transport.Message) {
		t.Helper()
		c := dial(t, tr, l.Addr())
		if err := c.Send(m); !errors.Is(err, quic.ErrWrongService) {
			t.Fatalf("got %v, want ErrWrongService", err)
		}
		// Nothing was sent, so the socket is as good as new.
		mustEcho(t, c, call("billing", "still works"))
	}
	t.Run("unary", func(t *testing.T) { refused(t, client, call("greeter", "secret")) })
	t.Run("stream", func(t *testing.T) {
		m := call("greeter", "secret")
		m.Header["Micro-Stream"] = "1"
		refused(t, client, m)
	})
	t.Run("old header", func(t *testing.T) {
		m := call("", "secret")
		delete(m.Header, "Micro-Service")
		m.Header["X-Micro-Service"] = "greeter"
		refused(t, client, m)
	})
	t.Run("part of the name", func(t *testing.T) { refused(t, client, call("bill", "secret")) })
	t.Run("in mid socket", func(t *testing.T) {
		c := dial(t, client, l.Addr())
		mustEcho(t, c, call("billing", "fine"))
		if err := c.Send(call("greeter", "secret")); !errors.Is(err, quic.ErrWrongService) {
			t.Fatalf("got %v, want ErrWrongService", err)
		}
	})
	t.Run("Via allows", func(t *testing.T) {
		mustEcho(t, dial(t, f.transport("caller", quic.Via("billing")), l.Addr()), call("greeter", "carried"))
	})
	t.Run("Via names another", func(t *testing.T) {
		refused(t, f.transport("caller", quic.Via("edge")), call("greeter", "secret"))
	})
	t.Run("DNS name", func(t *testing.T) {
		named := serve(t, newTransport(t, quic.Identity(f.issue("svc-17", identity.DNSNames("greeter")))), echo)
		mustEcho(t, dial(t, client, named.Addr()), call("greeter", "by DNS name"))
	})
}

// TestWrongPeer: an address that the directory binds answers only as a peer
// bound there.
func TestWrongPeer(t *testing.T) {
	f := newFleet(t)
	var handler called
	l := serve(t, f.transport("billing"), handler.handler)
	id := f.issue("caller")
	client := newTransport(t, quic.Identity(id))
	dir := id.Directory()
	until := time.Now().Add(time.Hour)

	if err := dir.Bind(l.Addr(), "spiffe://shop.internal/greeter", until); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Dial(l.Addr()); !errors.Is(err, quic.ErrWrongPeer) {
		t.Fatalf("got %v, want ErrWrongPeer", err)
	}
	if handler.times() != 0 {
		t.Error("the handler ran")
	}

	// A second peer at the address, as behind a load balancer.
	if err := dir.Bind(l.Addr(), "spiffe://shop.internal/billing", until); err != nil {
		t.Fatal(err)
	}
	c := dial(t, client, l.Addr())
	mustEcho(t, c, call("billing", "bound"))

	// The binding goes while a connection is up: it must not survive that.
	dir.Unbind(l.Addr(), "spiffe://shop.internal/billing")
	eventually(t, "the connection to an unbound peer fails", func() bool {
		_, err := roundTrip(c, call("billing", "unbound"))
		return err != nil
	})
	if _, err := client.Dial(l.Addr()); !errors.Is(err, quic.ErrWrongPeer) {
		t.Fatalf("got %v, want ErrWrongPeer", err)
	}
}

// TestRequireKnown: no binding, no connection.
func TestRequireKnown(t *testing.T) {
	f := newFleet(t)
	var handler called
	l := serve(t, f.transport("greeter"), handler.handler)
	id := f.issue("caller")
	client := newTransport(t, quic.Identity(id), quic.RequireKnown())
	if _, err := client.Dial(l.Addr()); !errors.Is(err, quic.ErrWrongPeer) {
		t.Fatalf("got %v, want ErrWrongPeer", err)
	}
	if handler.times() != 0 {
		t.Error("the handler ran")
	}
	if err := id.Directory().Bind(l.Addr(), "spiffe://shop.internal/greeter", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	mustEcho(t, dial(t, client, l.Addr()), call("greeter", "known"))
}
