package quic_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/transport"
)

// TestServerRestart: a socket that waits for nothing survives the restart of its
// server; one that a stream's state hangs on does not pretend to.
func TestServerRestart(t *testing.T) {
	f := newFleet(t)
	server := f.transport("greeter", quic.Timing(quic.Timeouts{Drain: 200 * time.Millisecond}))
	first, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() { accepted <- first.Accept(echo) }()

	client := f.transport("caller")
	unary, stream, unused := dial(t, client, first.Addr()), dial(t, client, first.Addr()), dial(t, client, first.Addr())
	mustEcho(t, unary, call("greeter", "one"))
	m := call("greeter", "one")
	m.Header["Micro-Stream"] = "1"
	mustEcho(t, stream, m)

	within(t, 20*time.Second, "Close", func() { _ = first.Close() })
	if err := <-accepted; err != nil {
		t.Errorf("Accept: %v", err)
	}
	serveAt(t, server, first.Addr(), echo)

	mustEcho(t, unary, call("greeter", "two"))
	mustEcho(t, unused, call("greeter", "first"))
	if _, err := roundTrip(stream, m); err == nil {
		t.Error("a stream went on at a server that knows nothing of it")
	}
}

// TestGracefulClose: calls in flight when the listener closes are answered.
func TestGracefulClose(t *testing.T) {
	f := newFleet(t)
	started, finish := make(chan struct{}), make(chan struct{})
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		var m transport.Message
		if s.Recv(&m) != nil {
			return
		}
		close(started)
		<-finish
		_ = s.Send(&m)
	})
	c := dial(t, f.transport("caller"), l.Addr())
	if err := c.Send(call("greeter", "slow")); err != nil {
		t.Fatal(err)
	}
	<-started
	closed := make(chan struct{})
	go func() { defer close(closed); _ = l.Close() }()
	close(finish)
	var m transport.Message
	if err := c.Recv(&m); err != nil || string(m.Body) != "slow" {
		t.Errorf("got %q, %v", m.Body, err)
	}
	within(t, 10*time.Second, "Close", func() { <-closed })
}

// TestCloseDoesNotWaitForever: a handler that never returns does not hold up the
// listener.
func TestCloseDoesNotWaitForever(t *testing.T) {
	f := newFleet(t)
	release := make(chan struct{})
	defer close(release)
	l := serve(t, f.transport("greeter", quic.Timing(quic.Timeouts{Drain: 50 * time.Millisecond})), func(s transport.Socket) {
		var m transport.Message
		_ = s.Recv(&m)
		<-release
	})
	c := dial(t, f.transport("caller"), l.Addr())
	if err := c.Send(call("greeter", "stuck")); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "Close", func() { _ = l.Close(); _ = l.Close() })
}

// TestBlockedSend: a peer that does not read holds up a Send only until the
// write timeout, and Close frees it at once.
func TestBlockedSend(t *testing.T) {
	f := newFleet(t)
	release := make(chan struct{})
	l := serve(t, f.transport("greeter"), func(transport.Socket) { <-release })
	defer close(release)
	huge := &transport.Message{Body: make([]byte, 32<<20)}

	t.Run("timeout", func(t *testing.T) {
		client := f.transport("caller", quic.Timing(quic.Timeouts{Write: 200 * time.Millisecond}))
		c := dial(t, client, l.Addr())
		within(t, 10*time.Second, "Send", func() {
			if err := c.Send(huge); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a timeout", err)
			}
		})
		if err := c.Send(call("greeter", "after")); !errors.Is(err, quic.ErrPoisoned) {
			t.Errorf("after a partial message: got %v, want ErrPoisoned", err)
		}
	})
	t.Run("the call's own time", func(t *testing.T) {
		c := dial(t, f.transport("caller"), l.Addr())
		m := call("greeter", "")
		m.Body = huge.Body
		m.Header["Timeout"] = strconv.Itoa(int(200 * time.Millisecond))
		within(t, 10*time.Second, "Send", func() {
			if err := c.Send(m); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a timeout", err)
			}
		})
	})
	t.Run("close", func(t *testing.T) {
		c := dial(t, f.transport("caller"), l.Addr())
		failed := make(chan error, 1)
		go func() { failed <- c.Send(huge) }()
		within(t, 10*time.Second, "Close", func() { _ = c.Close() })
		within(t, 10*time.Second, "Send", func() {
			if err := <-failed; err == nil {
				t.Error("a message that nobody reads was sent")
			}
		})
	})
}

// TestStalledReaders: streams that nobody reads do not hold up a healthy call on
// the same connection.
func TestStalledReaders(t *testing.T) {
	f := newFleet(t)
	release := make(chan struct{})
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		var m transport.Message
		if s.Recv(&m) != nil {
			return
		}
		if string(m.Body) == "stall" {
			<-release
			return
		}
		_ = s.Send(&m)
	})
	defer close(release)
	client := f.transport("caller", quic.Timing(quic.Timeouts{Write: time.Minute}))
	var wg sync.WaitGroup
	for range 2 {
		c := dial(t, client, l.Addr())
		if err := c.Send(call("greeter", "stall")); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = c.Send(&transport.Message{Body: make([]byte, 32<<20)}) })
		t.Cleanup(wg.Wait)
		t.Cleanup(func() { _ = c.Close() })
	}
	for i := range 50 {
		c := dial(t, client, l.Addr())
		within(t, 10*time.Second, "a healthy call", func() {
			if _, err := roundTrip(c, call("greeter", fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSharedConnection: sockets share a connection, so that a thousand failing
// calls, each of which closes its socket, cost one handshake.
func TestSharedConnection(t *testing.T) {
	f := newFleet(t)
	var peers atomic.Int64
	l := serve(t, f.transport("greeter", quic.Authorize(func(identity.Peer) error { peers.Add(1); return nil })), echo)
	client := f.transport("caller")
	for i := range 1000 {
		c, err := client.Dial(l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := roundTrip(c, call("greeter", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if got := peers.Load(); got != 1 {
		t.Errorf("%d handshakes, want 1", got)
	}
}

// TestStreamLimit: at the server's limit of sockets a client opens further
// connections.
func TestStreamLimit(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter", quic.Limit(quic.Limits{Streams: 10})), echo)
	client := f.transport("caller")
	var sockets []transport.Client
	for i := range 35 {
		c := dial(t, client, l.Addr())
		mustEcho(t, c, call("greeter", fmt.Sprint(i)))
		sockets = append(sockets, c)
	}
	for _, c := range sockets {
		mustEcho(t, c, call("greeter", "again"))
	}
}

// TestRenewal: a leaf that is renewed while calls run costs none of them, and
// the new one is in use afterwards.
func TestRenewal(t *testing.T) {
	f := newFleet(t)
	root := t.TempDir()
	load := func(service string) (string, *identity.Identity) {
		dir := filepath.Join(root, service)
		if err := f.issue(service).Save(dir); err != nil {
			t.Fatal(err)
		}
		id, err := identity.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		return dir, id
	}
	_, serverID := load("greeter")
	clientDir, clientID := load("caller")
	var serials sync.Map
	l := serve(t, newTransport(t, quic.Identity(serverID), quic.Authorize(func(p identity.Peer) error {
		serials.Store(p.Certificate.SerialNumber.String(), true)
		return nil
	})), echo)
	client := newTransport(t, quic.Identity(clientID))

	stop := make(chan struct{})
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		c := dial(t, client, l.Addr())
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if _, err := roundTrip(c, call("greeter", "x")); err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	generation := clientID.Generation()
	fresh := f.issue("caller")
	replace(t, clientDir, fresh)
	eventually(t, "the new leaf is loaded", func() bool { return clientID.Generation() > generation })
	want := clientID.Peer().Certificate.SerialNumber.String()
	eventually(t, "the new leaf is used", func() bool { _, ok := serials.Load(want); return ok })
	close(stop)
	wg.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d calls failed", failed.Load(), calls.Load())
	}
}

// replace puts the files of id in place of those in dir.
func replace(t *testing.T, dir string, id *identity.Identity) {
	t.Helper()
	tmp := filepath.Join(t.TempDir(), "new")
	if err := id.Save(tmp); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if err := os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRevocation: a peer that is revoked loses the connection it has, on
// whichever side it is.
func TestRevocation(t *testing.T) {
	for _, revoked := range []string{"client", "server"} {
		t.Run(revoked, func(t *testing.T) {
			f := newFleet(t)
			serverID, clientID := f.issue("greeter"), f.issue("caller")
			l := serve(t, newTransport(t, quic.Identity(serverID)), echo)
			c := dial(t, newTransport(t, quic.Identity(clientID)), l.Addr())
			mustEcho(t, c, call("greeter", "before"))
			waiting := dial(t, newTransport(t, quic.Identity(clientID)), l.Addr())
			lost := make(chan error, 1)
			go func() {
				var m transport.Message
				lost <- waiting.Recv(&m)
			}()
			out := map[string]*identity.Identity{"client": clientID, "server": serverID}[revoked]
			if err := f.authority.Revoke(out); err != nil {
				t.Fatal(err)
			}
			within(t, 10*time.Second, "the end of a live connection", func() {
				if err := <-lost; err == nil || err == io.EOF {
					t.Errorf("a waiting Recv: %v", err)
				}
			})
			if _, err := roundTrip(c, call("greeter", "after")); err == nil {
				t.Error("a call was answered after the revocation")
			}
		})
	}
}

// TestExpiry: a connection does not outlive the certificates that authenticated
// it.
func TestExpiry(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	short := f.issue("caller", identity.ValidFor(2*time.Second))
	c := dial(t, newTransport(t, quic.Identity(short)), l.Addr())
	if err := c.Send(call("greeter", "in time")); err != nil {
		t.Fatal(err)
	}
	var m transport.Message
	if err := c.Recv(&m); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the end of the connection", func() {
		if err := c.Recv(&m); err == nil || !bytes.Contains([]byte(err.Error()), []byte("expired")) {
			t.Errorf("got %v", err)
		}
	})
	if _, err := roundTrip(c, call("greeter", "too late")); err == nil {
		t.Error("a call was answered after the expiry")
	}
}

// TestIdleConnection: a connection whose sockets wait for nothing is closed, and
// its sockets still work.
func TestIdleConnection(t *testing.T) {
	f := newFleet(t)
	var conns atomic.Int64
	ended := make(chan struct{}, 2)
	server := f.transport("greeter", quic.Authorize(func(identity.Peer) error { conns.Add(1); return nil }))
	l := serve(t, server, func(s transport.Socket) {
		echo(s)
		ended <- struct{}{}
	})
	c := dial(t, f.transport("caller", quic.Timing(quic.Timeouts{Idle: 50 * time.Millisecond})), l.Addr())
	mustEcho(t, c, call("greeter", "one"))
	within(t, 10*time.Second, "the end of the idle connection", func() { <-ended })
	mustEcho(t, c, call("greeter", "two"))
	if got := conns.Load(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}
