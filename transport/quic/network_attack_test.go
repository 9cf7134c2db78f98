package quic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"github.com/quic-go/quic-go/testutils/simnet"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/transport"
)

// forger is a network with an attacker on it, who can put any source on a packet
// but keeps none from arriving.
type forger struct {
	simnet.PerfectRouter
	mu   sync.Mutex
	seen []simnet.Packet
}

func (r *forger) SendPacket(p simnet.Packet) error {
	r.mu.Lock()
	r.seen = append(r.seen, simnet.Packet{To: p.To, From: p.From, Data: bytes.Clone(p.Data)})
	r.mu.Unlock()
	return r.PerfectRouter.SendPacket(p)
}

func (r *forger) captured() []simnet.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]simnet.Packet(nil), r.seen...)
}

// forgeries are packets of all kinds from one address to another, for one who
// guesses connection IDs.
func forgeries(rng *rand.Rand) [][]byte {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		return b
	}
	long := func(first byte, version string, rest []byte) []byte {
		b := append([]byte{first}, version...)
		b = append(append(b, 8), noise(8)...) // destination
		b = append(append(b, 8), noise(8)...) // source
		return append(b, rest...)
	}
	const v1, v2 = "\x00\x00\x00\x01", "\x6b\x33\x43\xcf"
	return [][]byte{
		long(0xc0, v1, append([]byte{0, 0x44, 0x80}, noise(1152)...)), // Initial
		long(0xc0, v2, append([]byte{0, 0x44, 0x80}, noise(1152)...)),
		long(0xe0, v1, append([]byte{0x40, 0x80}, noise(128)...)),                  // Handshake
		long(0xd0, v1, append([]byte{0x40, 0x80}, noise(128)...)),                  // 0-RTT
		long(0xf0, v1, noise(64)),                                                  // Retry
		long(0x80, "\x00\x00\x00\x00", []byte("\x0a\x0a\x0a\x0a\x00\x00\x00\x99")), // Version Negotiation
		append([]byte{0x40}, noise(42)...),                                         // what a stateless reset looks like
		append([]byte{0x40}, noise(20)...),
		noise(1200),
		{0xc0},
		{},
	}
}

// TestForgedPackets: packets that an attacker forges, replays and alters, toward
// either side, before, during and after the handshake, disturb nobody.
func TestForgedPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := &forger{}
		network := &simnet.Simnet{Router: router}
		settings := simnet.NodeBiDiLinkSettings{Latency: 10 * time.Millisecond}
		serverAddr := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1).To4(), Port: 4000}
		clientAddr := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2).To4(), Port: 4000}
		serverConn, clientConn := network.NewEndpoint(serverAddr, settings), network.NewEndpoint(clientAddr, settings)
		if err := network.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = network.Close() })

		f := newFleet(t)
		var rec called
		peers := make(map[string]int)
		var mu sync.Mutex
		server := f.transport("greeter", quic.Authorize(func(p identity.Peer) error {
			mu.Lock()
			defer mu.Unlock()
			peers[p.ID]++
			return nil
		}))
		l := serveAt(t, server, "", rec.handler, quic.ListenOn(serverConn))

		stop := make(chan struct{})
		var attack sync.WaitGroup
		attack.Go(func() {
			rng := rand.New(rand.NewPCG(1, 2))
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			next := 0
			for {
				for _, b := range forgeries(rng) {
					_ = router.PerfectRouter.SendPacket(simnet.Packet{From: clientAddr, To: serverAddr, Data: b})
					_ = router.PerfectRouter.SendPacket(simnet.Packet{From: serverAddr, To: clientAddr, Data: bytes.Clone(b)})
				}
				// Packets that were really sent: again, altered, and sent back.
				captured := router.captured()
				for _, p := range captured[next:] {
					replay, altered, back := p, p, p
					replay.Data, altered.Data = bytes.Clone(p.Data), bytes.Clone(p.Data)
					altered.Data[len(altered.Data)-1-rng.IntN(min(16, len(p.Data)))] ^= 0x10
					back.From, back.To, back.Data = p.To, p.From, bytes.Clone(p.Data)
					for _, q := range []simnet.Packet{replay, altered, back} {
						_ = router.PerfectRouter.SendPacket(q)
					}
				}
				next = len(captured)
				select {
				case <-tick.C:
				case <-stop:
					return
				}
			}
		})
		client := f.transport("caller", quic.DialFrom(clientConn))
		c := dial(t, client, l.Addr())
		for i := range 50 {
			mustEcho(t, c, call("greeter", fmt.Sprint(i)))
		}
		mustEcho(t, dial(t, client, l.Addr()), call("greeter", "another"))
		close(stop)
		attack.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(peers) != 1 || peers[shop+"caller"] != 1 {
			t.Errorf("connections by peer: %v, want one of the caller", peers)
		}
		if n := rec.times(); n != 2 {
			t.Errorf("%d sockets, want 2", n)
		}
	})
}

// nat is a relay that can change the port from which a server sees its client.
type nat struct {
	inside net.PacketConn
	server net.Addr

	mu      sync.Mutex
	client  net.Addr
	outside net.PacketConn
	all     sync.WaitGroup
}

func newNAT(t *testing.T, server string) *nat {
	t.Helper()
	inside, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{inside: inside, server: to}
	n.rebind(t)
	n.all.Go(func() {
		b := make([]byte, 1<<16)
		for {
			k, from, err := inside.ReadFrom(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.client = from
			_, _ = n.outside.WriteTo(b[:k], to)
			n.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = inside.Close()
		n.mu.Lock()
		_ = n.outside.Close()
		n.mu.Unlock()
		n.all.Wait()
	})
	return n
}

// rebind forgets the old port at once, as a NAT that restarts.
func (n *nat) rebind(t *testing.T) {
	t.Helper()
	outside, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	old := n.outside
	n.outside = outside
	n.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	n.all.Go(func() {
		b := make([]byte, 1<<16)
		for {
			k, _, err := outside.ReadFrom(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			if n.client != nil {
				_, _ = n.inside.WriteTo(b[:k], n.client)
			}
			n.mu.Unlock()
		}
	})
}

// TestRebinding: a client whose address changes under its connection goes on, and
// handlers know it as before.
func TestRebinding(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), func(s transport.Socket) {
		for {
			var m transport.Message
			if s.Recv(&m) != nil {
				return
			}
			md := metadata.Copy(m.Header)
			md["Local"], md["Remote"] = s.Local(), s.Remote()
			p, _ := identity.PeerFromContext(metadata.NewContext(context.Background(), md))
			if s.Send(&transport.Message{Body: []byte(p.ID)}) != nil {
				return
			}
		}
	})
	relay := newNAT(t, l.Addr())
	client := f.transport("caller")
	old := dial(t, client, relay.inside.LocalAddr().String())
	for range 4 {
		for _, c := range []transport.Client{old, dial(t, client, relay.inside.LocalAddr().String())} {
			within(t, 10*time.Second, "a call", func() {
				if got, err := roundTrip(c, call("greeter", "who am I")); err != nil || string(got.Body) != shop+"caller" {
					t.Errorf("got %q, %v", got.Body, err)
				}
			})
		}
		relay.rebind(t)
	}
}

// TestStatelessReset: a server that lost its state but not its reset key tells a
// client so: the call in flight fails at once, and the next one works.
func TestStatelessReset(t *testing.T) {
	f := newFleet(t)
	key := quic.StatelessResetKey([32]byte{1, 2, 3})
	pc := newCutConn(t)
	quick := quic.Timing(quic.Timeouts{Drain: 100 * time.Millisecond})
	first := serveAt(t, f.transport("greeter", key, quick), "", echo, quic.ListenOn(pc))
	addr := first.Addr()
	c := dial(t, f.transport("caller"), addr)
	stream := call("greeter", "one")
	stream.Header["Micro-Stream"] = "1"
	mustEcho(t, c, stream)
	pc.cut()
	pc.release()
	serveAt(t, f.transport("greeter", key), addr, echo)

	within(t, 5*time.Second, "the failure", func() {
		_, err := roundTrip(c, stream)
		if err == nil || !strings.Contains(err.Error(), "restarted") {
			t.Errorf("got %v", err)
		}
	})
	within(t, 5*time.Second, "the next call", func() {
		mustEcho(t, dial(t, f.transport("caller"), addr), call("greeter", "two"))
	})
}

// TestDeadPort: nobody answers: that is known after Timeouts.Handshake, by all
// who wait at the cost of one attempt.
func TestDeadPort(t *testing.T) {
	f := newFleet(t)
	dead, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	sources := make(chan int, 1)
	go func() {
		ids := map[string]bool{} // of connections: bytes 6 to 14 of a long header
		b := make([]byte, 2000)
		for {
			n, _, err := dead.ReadFrom(b)
			if err != nil {
				sources <- len(ids)
				return
			}
			if n > 14 && b[0]&0x80 != 0 {
				ids[string(b[5:14])] = true
			}
		}
	}()
	client := f.transport("caller", quic.Timing(quic.Timeouts{Handshake: 500 * time.Millisecond}))
	begun := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := client.Dial(dead.LocalAddr().String()); !errors.Is(err, quic.ErrUnreachable) {
				t.Errorf("got %v, want ErrUnreachable", err)
			}
		})
	}
	within(t, 4*time.Second, "64 dials", wg.Wait)
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("given up after %v", took)
	}
	_ = dead.Close()
	if n := <-sources; n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}
