package sealed

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/server"
)

// inflight are the events whose handlers run, by the memory that their bodies are in:
// nobody else can have made a message of that memory.
type inflight struct {
	wanted atomic.Bool // by a SubscriberWrapper: nobody else asks
	mu     sync.Mutex
	events map[*byte]*event
}

// first returns the first byte of a body's memory, also of an empty body; nil if there
// is none.
func first(body []byte) *byte {
	if cap(body) == 0 {
		return nil
	}
	return &body[:1][0]
}

func (f *inflight) add(e *event) {
	mark := first(e.message.Body)
	if mark == nil || !f.wanted.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events == nil {
		f.events = make(map[*byte]*event)
	}
	e.mark = mark
	f.events[mark] = e
}

func (f *inflight) remove(e *event) {
	if e.mark == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.events, e.mark)
}

func (f *inflight) of(body []byte) *event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[first(body)]
}

var errSmuggled = errors.New("sealed: event refused: it did not come through the broker")

// SubscriberWrapper refuses events that have not come through a broker of this package:
// go-micro's server takes every call that has a Micro-Topic header for one, whoever
// calls. It also tells subscribers who has published; see SenderFromContext. b is the
// broker that the server has; any that is not of this package is one through which
// nothing comes.
func SubscriberWrapper(b broker.Broker) server.SubscriberWrapper {
	sealed, _ := b.(*sealedBroker)
	if sealed != nil {
		sealed.inflight.wanted.Store(true)
	}
	return func(next server.SubscriberFunc) server.SubscriberFunc {
		return func(ctx context.Context, m server.Message) error {
			var e *event
			if sealed != nil {
				e = sealed.inflight.of(m.Body())
			}
			if e == nil || m.Topic() != e.routed {
				if sealed != nil {
					sealed.smuggled(m)
				}
				return errSmuggled
			}
			return next(context.WithValue(ctx, senderKey{}, e.sender()), m)
		}
	}
}

// smuggled reports an event that came by another way.
func (b *sealedBroker) smuggled(m server.Message) {
	var hook func(Rejection)
	if l, err := b.use(); err == nil {
		hook = l.onReject
	}
	b.counts.refused(ReasonUnsealed)
	b.report.rejection(hook, Rejection{Topic: m.Topic(), Reason: ReasonUnsealed, Err: errSmuggled})
}
