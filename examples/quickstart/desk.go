package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/go-signet/signet/broker/sealed"
)

// Order is the event that the story is about.
type Order struct {
	Number   int    `json:"number"`
	Item     string `json:"item"`
	Customer string `json:"customer"`
}

// from is what a subscriber reads.
func (o *Order) from(publisher string) string {
	return fmt.Sprintf("order %d: %s for %s; from %s", o.Number, o.Item, o.Customer, publisher)
}

// desk is an ordinary go-micro subscriber. It also keeps what the story checks: what it
// was given, and what the broker refused on its behalf.
type desk struct {
	*member

	mu      sync.Mutex
	read    []string
	refused []sealed.Rejection
}

// take is the subscriber.
func (d *desk) take(ctx context.Context, o *Order) error {
	from := "somebody unknown"
	if peer, ok := sealed.SenderFromContext(ctx); ok {
		from = peer.ID
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = append(d.read, o.from(from))
	return nil
}

func (d *desk) refuse(j sealed.Rejection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = append(d.refused, j)
}

// lastRead is what was read last, if it is news.
func (d *desk) lastRead() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.read) == 0 {
		return "(nothing)"
	}
	return d.read[len(d.read)-1]
}

// news returns what was read and what was refused since the last time.
func (d *desk) news() (read []string, refused []sealed.Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	read = slices.Clone(d.read)
	for _, j := range d.refused {
		refused = append(refused, j.Reason)
	}
	d.read, d.refused = nil, nil
	return read, refused
}
