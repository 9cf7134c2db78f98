package nats

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/go-signet/signet/internal/backend"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
)

// Kind says what happened.
type Kind int

// The kinds of incident.
const (
	// Disconnected: the link is down, and is being made anew.
	Disconnected Kind = iota + 1
	// Reconnected: the link is up again.
	Reconnected
	// Distrusted: the certificate that NATS has shown is not trusted any more.
	Distrusted
	// AccountDenied: NATS does not take who we are, or not any more: it has expired, was
	// revoked or changed. It is tried again, with what nats.Use reads or asks for then.
	AccountDenied
	// PublishDenied: the server's permissions do not allow what was published; it is
	// lost. NATS says so after Publish has returned.
	PublishDenied
	// SubscribeDenied: a subscription that was made is not permitted any more.
	SubscribeDenied
	// Slow: messages were dropped because a handler is slower than they come.
	Slow
	// Malformed: a message was refused because of its headers.
	Malformed
	// Panicked: a handler panicked.
	Panicked
	// Trouble: an error of NATS's that is none of the above.
	Trouble
)

var kinds = [...]string{"", "disconnected", "reconnected", "server distrusted", "account denied", "publish denied", "subscribe denied", "slow handler", "malformed message", "handler panicked", "trouble"}

// String returns the kind as it stands in the log.
func (k Kind) String() string {
	if k <= 0 || int(k) >= len(kinds) {
		return "unknown incident"
	}
	return kinds[k]
}

// Incident is something that no call could return as its error.
type Incident struct {
	Kind    Kind
	Topic   string // "" if it is about no topic, or about one that is not known
	Queue   string
	Err     error  // nil for Reconnected
	Dropped uint64 // messages lost since the last report, for Slow
}

// Stats counts what happened since the broker was made.
type Stats struct {
	Dropped    uint64 // messages, because a handler was too slow
	Malformed  uint64 // messages that were refused
	Failed     uint64 // messages whose handler returned an error
	Panicked   uint64 // messages whose handler panicked
	Denied     uint64 // publishes and subscriptions
	Reconnects uint64
}

// Stats returns the counts so far.
func (b *natsBroker) Stats() Stats {
	r := &b.report
	s := Stats{
		Dropped: r.dropped.Load(), Malformed: r.malformed.Load(), Failed: r.failed.Load(),
		Panicked: r.panicked.Load(), Denied: r.denied.Load(), Reconnects: r.reconnects.Load(),
	}
	for _, sub := range b.subscriptions() {
		s.Dropped += sub.unreported()
	}
	return s
}

// maxQueued is how many incidents wait for the user's functions.
const maxQueued = 64

// reporter counts, logs and hands on what happens.
type reporter struct {
	hooks atomic.Pointer[hooks]

	dropped, malformed, failed, panicked, denied, reconnects atomic.Uint64

	mu      sync.Mutex
	queue   []Incident
	running bool
}

type hooks struct {
	given        logger.Logger
	log          *backend.LimitedLogger
	errorHandler broker.Handler
	incident     func(Incident)
}

// set takes the user's functions from the options.
func (r *reporter) set(o *broker.Options) {
	h := &hooks{given: o.Logger, errorHandler: o.ErrorHandler}
	h.incident, _ = option[func(Incident)](o.Context, incidentKey{})
	if old := r.hooks.Load(); old != nil && old.given == o.Logger {
		h.log = old.log
	} else {
		h.log = backend.NewLimitedLogger(o.Logger)
	}
	r.hooks.Store(h)
}

func (r *reporter) logf(level logger.Level, format string, args ...any) {
	r.hooks.Load().log.Logf(level, format, args...)
}

// incident logs something, and hands it to OnIncident and, if it is an error that has no
// message, to the ErrorHandler. It does not wait for them.
func (r *reporter) incident(i Incident) {
	switch i.Kind {
	case Reconnected:
		r.logf(logger.InfoLevel, "nats: %v", i.Kind)
	case Slow:
		r.logf(logger.WarnLevel, "nats: %v: topic %q queue %q: %d dropped", i.Kind, i.Topic, i.Queue, i.Dropped)
	default:
		r.logf(logger.WarnLevel, "nats: %v: topic %q queue %q: %v", i.Kind, i.Topic, i.Queue, i.Err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == maxQueued {
		return
	}
	r.queue = append(r.queue, i)
	if !r.running {
		r.running = true
		go r.hand()
	}
}

// hand lives while there are incidents.
func (r *reporter) hand() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		i := r.queue[0]
		r.queue = r.queue[1:]
		r.mu.Unlock()
		h := r.hooks.Load()
		if h.incident != nil {
			r.guard(func() { h.incident(i) })
		}
		switch i.Kind {
		case PublishDenied, SubscribeDenied, Slow:
			r.tell(&event{topic: i.Topic, message: emptyMessage(), err: i.Err})
		}
	}
}

// tell calls the user's ErrorHandler.
func (r *reporter) tell(e broker.Event) {
	if f := r.hooks.Load().errorHandler; f != nil {
		r.guard(func() { _ = f(e) })
	}
}

// guard keeps a panic of the user's reporting functions from ending what reports.
func (r *reporter) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			r.logf(logger.ErrorLevel, "nats: an ErrorHandler or OnIncident panicked: %v\n%s", p, debug.Stack())
		}
	}()
	f()
}

// refuse reports a message that is not delivered.
func (r *reporter) refuse(e *event, queue string) {
	r.malformed.Add(1)
	r.incident(Incident{Kind: Malformed, Topic: e.topic, Queue: queue, Err: e.err})
	r.tell(e)
}

// fail reports a handler's error. e's error is set.
func (r *reporter) fail(e broker.Event, queue string) {
	err := e.Error()
	if p, ok := err.(*panicError); ok {
		r.panicked.Add(1)
		r.logf(logger.ErrorLevel, "nats: %v\n%s", err, p.stack)
		r.incident(Incident{Kind: Panicked, Topic: e.Topic(), Queue: queue, Err: err})
	} else {
		r.failed.Add(1)
		r.logf(logger.ErrorLevel, "nats: the handler of topic %q: %v", e.Topic(), err)
	}
	r.tell(e)
}

func emptyMessage() broker.Message { return broker.Message{Header: map[string]string{}} }

// panicError is the error of a handler that panicked.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("nats: %v: %v", ErrPanic, p.value) }

func (p *panicError) Unwrap() error { return ErrPanic }
