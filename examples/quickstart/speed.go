package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport"
)

// How the speed is measured.
const (
	callers = 32
	rounds  = 3
	round   = 500 * time.Millisecond
)

// speedChapter compares with go-micro's http transport. What it finds is no
// promise, because machines are noisy; that calls were made is one.
func speedChapter(ctx context.Context, s *stage) error {
	reg := registry.NewMemoryRegistry()
	greeterID, err := s.issue("greeter")
	if err != nil {
		return err
	}
	contest := []struct {
		name, what      string
		greeter, caller *member
		rates           []float64
	}{
		{name: "quic", what: "encrypted, both sides proved",
			greeter: s.secure("greeter", greeterID, reg), caller: s.secure("caller", s.caller.id, reg)},
		{name: "http", what: "in clear, nobody proved",
			greeter: s.newMember("greeter", transport.NewHTTPTransport(), registry.NewMemoryRegistry())},
	}
	contest[1].caller = s.newMember("caller", transport.NewHTTPTransport(), contest[1].greeter.Options().Registry)
	for _, c := range contest {
		if err := s.serve(c.greeter, new(Greeter)); err != nil {
			return err
		}
		if _, err := c.caller.hello(ctx, "greeter", "warm"); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	s.say("%d callers at once, %d rounds of %v each, in turns, on this machine", callers, rounds, round)
	for range rounds {
		for i := range contest {
			contest[i].rates = append(contest[i].rates, rate(ctx, contest[i].caller))
		}
	}
	median := make([]float64, len(contest))
	for i, c := range contest {
		slices.Sort(c.rates)
		median[i] = c.rates[rounds/2]
		s.show("%s  %9s calls per second   %s", c.name, thousands(int(median[i])), c.what)
	}
	if median[1] > 0 {
		s.show("%.1f × the calls of http, medians, over the loopback interface", median[0]/median[1])
	}
	s.promise("both made calls", median[0] > 0 && median[1] > 0, "their medians are %v", median)
	return nil
}

// rate has m call for a round and returns the calls per second that were
// answered. What is under way when the round ends does not count.
func rate(ctx context.Context, m *member) float64 {
	ctx, cancel := context.WithTimeout(ctx, round)
	defer cancel()
	start := time.Now()
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if answer, err := m.hello(ctx, "greeter", "John", giveUp); err == nil && answer == "Hello John" {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(answered.Load()) / time.Since(start).Seconds()
}

// giveUp ends a call that go-micro has lost. Its http transport changes the key
// of the request ID, for which now and then a call is not answered.
func giveUp(o *client.CallOptions) { o.ConnectionTimeout = 2 * round }

// thousands writes 12345 as "12 345".
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}
