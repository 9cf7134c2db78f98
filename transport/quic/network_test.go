package quic_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/transport/quic"
	"github.com/quic-go/quic-go/testutils/simnet"
	"go-micro.dev/v4/transport"
)

// badRouter loses, damages and doubles packets.
type badRouter struct {
	simnet.PerfectRouter
	loss, damage, double float64

	mu                     sync.Mutex
	rng                    *rand.Rand
	lost, damaged, doubled int
}

func (r *badRouter) SendPacket(p simnet.Packet) error {
	r.mu.Lock()
	lose := r.rng.Float64() < r.loss
	damage := r.rng.Float64() < r.damage
	double := r.rng.Float64() < r.double
	at, bit := r.rng.IntN(len(p.Data)), r.rng.IntN(8)
	switch {
	case lose:
		r.lost++
	case damage:
		r.damaged++
	case double:
		r.doubled++
	}
	r.mu.Unlock()
	switch {
	case lose:
		return nil
	case damage:
		p.Data = bytes.Clone(p.Data)
		p.Data[at] ^= 1 << bit
	case double:
		again := p
		again.Data = bytes.Clone(p.Data)
		_ = r.PerfectRouter.SendPacket(again)
	}
	return r.PerfectRouter.SendPacket(p)
}

// TestBadNetwork: over a network that delays, reorders, loses, damages and
// doubles packets every call is answered, once, with its own answer.
func TestBadNetwork(t *testing.T) {
	steady := func(d time.Duration) func(*rand.Rand) time.Duration {
		return func(*rand.Rand) time.Duration { return d }
	}
	jitter := func(r *rand.Rand) time.Duration {
		return 10*time.Millisecond + time.Duration(r.IntN(40))*time.Millisecond
	}
	for name, test := range map[string]struct {
		router *badRouter
		delay  func(*rand.Rand) time.Duration
	}{
		"delay":       {&badRouter{}, steady(50 * time.Millisecond)},
		"loss":        {&badRouter{loss: 0.1}, steady(20 * time.Millisecond)},
		"reordering":  {&badRouter{}, jitter},
		"damage":      {&badRouter{damage: 0.05}, steady(20 * time.Millisecond)},
		"duplication": {&badRouter{double: 0.2}, steady(20 * time.Millisecond)},
		"all of it":   {&badRouter{loss: 0.05, damage: 0.03, double: 0.1}, jitter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				router := test.router
				router.rng = rand.New(rand.NewPCG(1, 2))
				delays, mu := rand.New(rand.NewPCG(3, 4)), sync.Mutex{}
				network := &simnet.Simnet{Router: router}
				settings := simnet.NodeBiDiLinkSettings{LatencyFunc: func(simnet.Packet) time.Duration {
					mu.Lock()
					defer mu.Unlock()
					return test.delay(delays)
				}}
				at := func(host byte) *simnet.SimConn {
					return network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(10, 0, 0, host).To4(), Port: 4000}, settings)
				}
				serverConn, clientConn := at(1), at(2)
				if err := network.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = network.Close() })

				f := newFleet(t)
				timing := quic.Timing(quic.Timeouts{Handshake: 20 * time.Second})
				var handler called
				l := serveAt(t, f.transport("greeter", timing), "", handler.handler, quic.ListenOn(serverConn))
				client := f.transport("caller", timing, quic.DialFrom(clientConn))

				var wg sync.WaitGroup
				for i := range 20 {
					c := dial(t, client, l.Addr(), transport.WithTimeout(time.Minute))
					wg.Go(func() {
						for j := range 10 {
							body := fmt.Sprintf("call %d of socket %d", j, i)
							got, err := roundTrip(c, call("greeter", body))
							if err != nil || string(got.Body) != body {
								t.Errorf("%s: got %q, %v", body, got.Body, err)
								return
							}
						}
					})
				}
				large := make([]byte, 2<<20)
				_, _ = rand.NewChaCha8([32]byte{5}).Read(large)
				c := dial(t, client, l.Addr(), transport.WithTimeout(time.Minute))
				got, err := roundTrip(c, call("greeter", string(large)))
				if err != nil || !bytes.Equal(got.Body, large) {
					t.Errorf("a message of 2 MiB: got %d bytes, %v", len(got.Body), err)
				}
				wg.Wait()
				if n := handler.times(); n != 21 {
					t.Errorf("%d sockets at the server, want 21", n)
				}
				router.mu.Lock()
				defer router.mu.Unlock()
				if router.loss > 0 && router.lost == 0 || router.damage > 0 && router.damaged == 0 || router.double > 0 && router.doubled == 0 {
					t.Errorf("the network behaved: %d lost, %d damaged, %d doubled", router.lost, router.damaged, router.doubled)
				}
			})
		})
	}
}
