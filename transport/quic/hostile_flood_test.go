package quic_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// healthy makes calls on a connection of its own until stop, and fails the test
// if one of them does.
func healthy(t *testing.T, tr transport.Transport, addr string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var calls atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			c, err := tr.Dial(addr)
			if err == nil {
				_, err = roundTrip(c, call("greeter", "healthy"))
				_ = c.Close()
			}
			if err != nil {
				t.Errorf("a healthy call: %v", err)
				return
			}
			calls.Add(1)
		}
	})
	return func() {
		before := calls.Load()
		eventually(t, "calls beside the attack", func() bool { return calls.Load() > before || t.Failed() })
		close(done)
		wg.Wait()
	}
}

// TestAnnouncedLengths: memory follows what has arrived, not what is announced.
func TestAnnouncedLengths(t *testing.T) {
	f := newFleet(t)
	rec := newRecorder()
	const limit, streams = 1 << 20, 1000
	l := serve(t, f.transport("greeter", quic.Limit(quic.Limits{Body: limit, HeaderBytes: limit})), rec.handler)
	headers := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	bodies := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	before := heap()
	for range streams {
		headers.send(append(onStream(varints(limit, limit)), 0x02, 'a'))
		bodies.send(append(onStream(varints(0, limit)), "few"...))
	}
	eventually(t, "all sockets", func() bool { n, _ := rec.seen(); return n == 2*streams })
	headers.mustEcho("after what came before")
	bodies.mustEcho("after what came before")
	// Both ends are in this process: streams, goroutines and 8 KiB of beginning.
	if grown := heap() - before; grown > 2*streams*48<<10 {
		t.Errorf("%d announcements of 1 MiB took %d MiB", 2*streams, grown>>20)
	}
	if _, messages := rec.seen(); len(messages) != 2 {
		t.Errorf("%d messages arrived, want 2", len(messages))
	}
}

// TestUnreadRequests: what a handler does not read takes the flow-control windows
// of its connection and no more, and keeps no other connection waiting.
func TestUnreadRequests(t *testing.T) {
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
	stop := healthy(t, f.transport("caller"), l.Addr())
	c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	chunk := make([]byte, 1<<20)
	before := heap()
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		s := c.send(onStream(frame(nil, []byte("stall"))))
		wg.Go(func() {
			_ = s.SetWriteDeadline(time.Now().Add(2 * time.Second))
			n, _ := s.Write(chunk)
			taken.Add(int64(n))
		})
	}
	wg.Wait()
	if n := taken.Load(); n > 32<<20 {
		t.Errorf("the listener took %d MiB that nobody read", n>>20)
	}
	if grown := heap() - before; grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	stop()
}

// TestUnreadAnswers: a client that asks and never reads holds a handler up for
// Timeouts.Write, and other clients not at all.
func TestUnreadAnswers(t *testing.T) {
	f := newFleet(t)
	failed := make(chan error, 100)
	l := serve(t, f.transport("greeter", quic.Timing(quic.Timeouts{Write: 500 * time.Millisecond})), func(s transport.Socket) {
		var m transport.Message
		if s.Recv(&m) != nil {
			return
		}
		if string(m.Body) == "much" {
			failed <- s.Send(&transport.Message{Body: make([]byte, 2<<20)})
			return
		}
		_ = s.Send(&m)
	})
	stop := healthy(t, f.transport("caller"), l.Addr())
	c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	for range cap(failed) {
		c.send(onStream(frame(nil, []byte("much"))))
	}
	for range cap(failed) {
		within(t, 10*time.Second, "Send", func() {
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a timeout", err)
			}
		})
	}
	stop()
}

// TestStreamLimitIsHard: a client has Limits.Streams sockets at most, however it
// opens and resets its streams, until handlers return.
func TestStreamLimitIsHard(t *testing.T) {
	f := newFleet(t)
	const limit = 50
	var running, most atomic.Int64
	release := make(chan struct{})
	l := serve(t, f.transport("greeter", quic.Limit(quic.Limits{Streams: limit})), func(s transport.Socket) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		var m transport.Message
		if s.Recv(&m) == nil {
			_ = s.Send(&transport.Message{Body: m.Body})
			return
		}
		<-release // a handler that goes on although its client is gone
	})
	c := dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil)
	for i := range limit {
		s := c.send([]byte{0x01})
		eventually(t, "its socket", func() bool { return running.Load() == int64(i+1) })
		s.CancelWrite(0)
		s.CancelRead(0)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.OpenStreamSync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stream above the limit: %v", err)
	}
	if n := most.Load(); n > limit {
		t.Errorf("%d handlers ran at once, the limit is %d", n, limit)
	}
	close(release)
	c.mustEcho("there is room again")
}

// TestStreamFlood: tens of thousands of streams that are opened and reset take
// neither goroutines nor memory, and others are served meanwhile.
func TestStreamFlood(t *testing.T) {
	f := newFleet(t)
	const limit, floods = 256, 4
	l := serve(t, f.transport("greeter", quic.Limit(quic.Limits{Streams: limit})), echo)
	stop := healthy(t, f.transport("caller"), l.Addr())
	var clients []rawClient
	for range floods {
		clients = append(clients, dialRaw(t, l.Addr(), f.tlsConfig("mallory"), nil))
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	var most atomic.Int64
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for j := range 5000 {
				s, err := c.OpenStreamSync(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				switch i {
				case 0: // reset at once
				case 1:
					_, _ = s.Write([]byte{0x01})
				case 2:
					_, _ = s.Write(append(onStream(varints(0, 64<<20)), make([]byte, 100)...))
				case 3:
					_, _ = s.Write(varints(1<<62 - 1))
				}
				s.CancelWrite(quicgo.StreamErrorCode(j))
				s.CancelRead(0)
				if n := int64(runtime.NumGoroutine()); n > most.Load() {
					most.Store(n)
				}
			}
		})
	}
	wg.Wait()
	if n := int(most.Load()) - goroutines; n > floods*limit+100 {
		t.Errorf("%d goroutines more, at a limit of %d streams", n, floods*limit)
	}
	eventually(t, "the streams are gone", func() bool { return runtime.NumGoroutine() < goroutines+50 })
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	stop()
	for _, c := range clients {
		c.mustEcho("after the flood")
	}
}
