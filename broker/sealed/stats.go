package sealed

import (
	"maps"
	"sync"
	"sync/atomic"

	"go-micro.dev/v4/broker"
)

// Stats are counts since a broker was made, for metrics.
type Stats struct {
	Sealed       uint64 // messages that were handed to the inner broker
	EpochsMade   uint64 // epochs of ours
	EpochsOpened uint64 // epochs of others
	Delivered    uint64 // messages whose handler returned nil
	Failed       uint64 // messages whose handler returned an error
	Refused      map[Reason]uint64
}

type counts struct {
	sealed, epochs, opened, delivered, failed atomic.Uint64

	mu      sync.Mutex
	reasons map[Reason]uint64
}

func (c *counts) refused(reason Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons = make(map[Reason]uint64)
	}
	c.reasons[reason]++
}

// StatsOf returns the counts of a broker; zeros if it is not of this package.
func StatsOf(b broker.Broker) Stats {
	s, ok := b.(*sealedBroker)
	if !ok {
		return Stats{}
	}
	c := &s.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Sealed: c.sealed.Load(), EpochsMade: c.epochs.Load(), EpochsOpened: c.opened.Load(),
		Delivered: c.delivered.Load(), Failed: c.failed.Load(), Refused: maps.Clone(c.reasons),
	}
}
