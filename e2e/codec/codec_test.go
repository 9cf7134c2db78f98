package codec_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"

	"github.com/go-signet/signet/codec/encrypted"
)

func carriers(t *testing.T, f func(t *testing.T, fleet *fleet)) {
	for _, carrier := range []string{"http", "quic"} {
		t.Run(carrier, func(t *testing.T) { f(t, newFleet(t, carrier)) })
	}
}

// TestReplicas: a client finds the keys of all replicas in the signed registry. One that
// is added gets calls, and can open them, at once; one that leaves is missed by nobody.
func TestReplicas(t *testing.T) {
	carriers(t, func(t *testing.T, f *fleet) {
		c := f.caller(f.issue("web"))
		if err := c.hello("Hello", "John"); err == nil {
			t.Error("a service that is not there answered")
		}
		var replicas []*replica
		for range 3 {
			replicas = append(replicas, f.serve(f.issue("greeter")))
			c.works(20)
			if last := replicas[len(replicas)-1]; last.handler.calls.Load() == 0 {
				t.Error("the new replica got none of 20 calls")
			}
		}
		must(t, replicas[0].server.Stop())
		before := replicas[0].handler.calls.Load()
		c.works(20)
		if replicas[0].handler.calls.Load() != before {
			t.Error("the replica that has left got a call")
		}
	})
}

// TestForgotten: a replica that is started anew at its address, and so has forgotten how
// callers seal, gets that within the call.
func TestForgotten(t *testing.T) {
	carriers(t, func(t *testing.T, f *fleet) {
		id := f.issue("greeter")
		first := f.serve(id)
		c := f.caller(f.issue("web"))
		c.works(3)
		must(t, first.server.Stop())
		again := f.serveAt(id, first.server.Options().Address, f.registry(id))
		// What is left of connections to the first may fail.
		for range 20 {
			if c.hello("Hello", "John") == nil {
				break
			}
		}
		before := again.handler.calls.Load()
		c.works(5)
		if n := again.handler.calls.Load() - before; n != 5 {
			t.Errorf("5 calls were carried out %d times", n)
		}
	})
}

// TestChurn: replicas come while many calls are under way, and no call is lost.
func TestChurn(t *testing.T) {
	carriers(t, func(t *testing.T, f *fleet) {
		f.serve(f.issue("greeter"))
		c := f.caller(f.issue("web"))
		c.works(1)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := 0; ; j++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := c.hello("Hello", fmt.Sprint(i, j)); err != nil {
						t.Errorf("call %d of %d: %v", j, i, err)
						return
					}
				}
			})
		}
		for range 3 {
			f.serve(f.issue("greeter"))
			c.works(5)
		}
		close(stop)
		wg.Wait()
	})
}

// TestRevokedInMidCall: the caller is revoked while its call is with the handler. That
// one is answered over http, where nothing else cuts it; the next is refused.
func TestRevokedInMidCall(t *testing.T) {
	f := newFleet(t, "http")
	s, id := f.serve(f.issue("greeter")), f.issue("web")
	c := f.caller(id)
	c.works(1)
	done := make(chan error, 1)
	go func() { done <- c.hello("Wait", "John") }()
	<-s.handler.entered
	must(t, f.authority.Revoke(id))
	close(s.handler.leave)
	must(t, <-done)
	before := s.handler.calls.Load()
	if err := c.hello("Hello", "John"); err == nil {
		t.Error("a revoked caller was answered")
	}
	if s.handler.calls.Load() != before {
		t.Error("the handler ran for a revoked caller")
	}
	other := f.caller(f.issue("other"))
	other.works(1)
	must(t, f.authority.Revoke(s.id))
	if err := other.hello("Hello", "John"); err == nil {
		t.Error("a revoked service was called")
	}
}

// TestImpostor: somebody answers at the address of the service who is not the service,
// as http lets it.
func TestImpostor(t *testing.T) {
	f := newFleet(t, "http")
	f.serve(f.issue("greeter"))
	c := f.caller(f.issue("web"))
	c.works(1)
	id := f.issue("billing")
	impostor := f.serveAt(id, "127.0.0.1:0", registry.NewMemoryRegistry())
	err := c.hello("Hello", "John", client.WithAddress(impostor.server.Options().Address))
	if !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	if impostor.handler.calls.Load() != 0 {
		t.Error("the impostor's handler ran")
	}
	c.works(1)
}
