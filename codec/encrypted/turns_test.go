package encrypted_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/server"
)

// receivers is how many goroutines receive from one stream, and each how often.
const receivers, each = 4, 50

// inTurns receives from a stream in several goroutines, and returns how often what came.
func inTurns(receive func() (string, error)) (map[string]int, error) {
	var mu sync.Mutex
	var first error
	got := make(map[string]int)
	var wg sync.WaitGroup
	for range receivers {
		wg.Go(func() {
			for range each {
				text, err := receive()
				mu.Lock()
				if got[text]++; err != nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got, first
}

// Crowd receives in several goroutines, and says whether each message came once.
func (g *Greeter) Crowd(_ context.Context, stream server.Stream) error {
	got, err := inTurns(func() (string, error) {
		var req Request
		err := stream.Recv(&req)
		return req.Name, err
	})
	if err != nil {
		return err
	}
	for i := range receivers * each {
		if n := got[fmt.Sprint("John ", i)]; n != 1 {
			return fmt.Errorf("message %d came %d times", i, n)
		}
	}
	return stream.Send(&Response{"all are here"})
}

// TestReceiversTakeTurns: goroutines that receive from one stream at the same time, as one
// does that was given up on and the next, get each message once.
func TestReceiversTakeTurns(t *testing.T) {
	s, c := pair(t)
	t.Run("client", func(t *testing.T) {
		stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Count", nil), client.WithAddress(s.address))
		must(t, err)
		must(t, stream.Send(&Request{fmt.Sprint(receivers * each)}))
		got, err := inTurns(func() (string, error) {
			var rsp Response
			err := stream.Recv(&rsp)
			return rsp.Greeting, err
		})
		must(t, err)
		for i := range receivers * each {
			if n := got[fmt.Sprintf("message %d %0*d", i, i%37, 0)]; n != 1 {
				t.Errorf("message %d came %d times", i, n)
			}
		}
		must(t, stream.Close())
	})
	t.Run("server", func(t *testing.T) {
		stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Crowd", nil), client.WithAddress(s.address))
		must(t, err)
		for i := range receivers * each {
			must(t, stream.Send(&Request{fmt.Sprint("John ", i)}))
		}
		var rsp Response
		if err := stream.Recv(&rsp); err != nil || rsp.Greeting != "all are here" {
			t.Errorf("got %q, error: %v", rsp.Greeting, err)
		}
		must(t, stream.Close())
	})
}
