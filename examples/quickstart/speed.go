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
	callers = 64
	rounds  = 7
	round   = 200 * time.Millisecond
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
	for _, c := range contest {
		s.show("%s  %9s calls per second   %s", c.name, thousands(int(median(c.rates))), c.what)
	}
	quicRates, httpRates := contest[0].rates, contest[1].rates
	if slices.Min(httpRates) > 0 {
		// Of neighbouring rounds, so that whatever else the machine does counts
		// for both.
		ratios := make([]float64, rounds)
		for i := range ratios {
			ratios[i] = quicRates[i] / httpRates[i]
		}
		s.show("%.1f × the calls of plain http (medians, loopback; bench/ measures it with care)", median(ratios))
	}
	s.promise("both made calls", slices.Max(quicRates) > 0 && slices.Max(httpRates) > 0, "quic made %v, http %v", quicRates, httpRates)
	return nil
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
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
func giveUp(o *client.CallOptions) { o.ConnectionTimeout = time.Second }

// thousands writes 12345 as "12 345".
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}
