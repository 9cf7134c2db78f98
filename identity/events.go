package identity

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// EventKind says what happened to an identity that follows a directory.
type EventKind int

// The kinds of event.
const (
	// Reloaded: a new set is in force.
	Reloaded EventKind = iota + 1
	// ReloadFailed: the directory holds something that may not be used; Err says
	// what and why. What was loaded before stays in force.
	ReloadFailed
	// ExpiresSoon: two thirds of the leaf's lifetime are over.
	ExpiresSoon
	// Expired: the leaf has ended, and the identity with it until it is renewed.
	Expired
	// SelfRevoked: a revocation list names our own leaf. Peers refuse us.
	SelfRevoked
	// WatchDegraded: the kernel reports no changes; the timer alone is left.
	WatchDegraded
)

// String returns the kind as it stands in the log.
func (k EventKind) String() string {
	switch k {
	case Reloaded:
		return "identity reloaded"
	case ReloadFailed:
		return "identity not reloaded"
	case ExpiresSoon:
		return "identity expires soon"
	case Expired:
		return "identity expired"
	case SelfRevoked:
		return "identity revoked"
	case WatchDegraded:
		return "identity watched by timer only"
	}
	return "unknown identity event"
}

// Event is something that happened to an identity that follows a directory.
type Event struct {
	Kind     EventKind
	Err      error     // nil for Reloaded
	NotAfter time.Time // end of the leaf, for Reloaded, ExpiresSoon and Expired
}

// Reloads counts how often an identity has read its directory anew.
type Reloads struct {
	Succeeded uint64 // a new set was put in force
	Failed    uint64 // what was there could not be used
}

// Reloads returns the counts so far; zeros for an identity that follows no files.
func (id *Identity) Reloads() Reloads {
	if id == nil || id.reloads == nil {
		return Reloads{}
	}
	return Reloads{Succeeded: id.reloads.succeeded.Load(), Failed: id.reloads.failed.Load()}
}

type reloadCounts struct{ succeeded, failed atomic.Uint64 }

// Bounds on what one identity may log and queue.
const (
	logAgain  = time.Minute // an event of one kind is not logged again before that
	maxQueued = 64          // events that wait for OnEvent
)

// events counts, logs and hands on what happens to one identity.
type events struct {
	logger *slog.Logger
	f      func(Event)
	counts reloadCounts

	mu      sync.Mutex
	logged  map[EventKind]time.Time
	queue   []Event
	running bool
	closed  bool
}

func (e *events) emit(event Event) {
	if e.shutDown() {
		return // what fails because of Close is no failure
	}
	switch event.Kind {
	case Reloaded:
		e.counts.succeeded.Add(1)
		e.settled()
	case ReloadFailed:
		e.counts.failed.Add(1)
	}
	if e.due(event.Kind) {
		e.log(event)
	}
	e.enqueue(event)
}

// settled lets the next failure be logged at once, since all is well.
func (e *events) settled() {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.logged, ReloadFailed)
}

// due decides whether an event is logged. Errors hold times, so it is the kind
// that counts.
func (e *events) due(kind EventKind) bool {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if last, ok := e.logged[kind]; ok && now.Sub(last) < logAgain {
		return false
	}
	if e.logged == nil {
		e.logged = make(map[EventKind]time.Time)
	}
	e.logged[kind] = now
	return true
}

func (e *events) log(event Event) {
	switch event.Kind {
	case Reloaded:
		e.logger.Info(event.Kind.String(), "notAfter", event.NotAfter)
	case ExpiresSoon, WatchDegraded:
		e.logger.Warn(event.Kind.String(), "err", event.Err)
	default:
		e.logger.Error(event.Kind.String(), "err", event.Err)
	}
}

// enqueue hands an event to f in a goroutine that lives while there are any, so
// that f may take its time, and may close the identity.
func (e *events) enqueue(event Event) {
	if e.f == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if len(e.queue) == maxQueued {
		e.queue = e.queue[1:]
	}
	e.queue = append(e.queue, event)
	if !e.running {
		e.running = true
		go e.deliver()
	}
}

func (e *events) deliver() {
	for {
		e.mu.Lock()
		if e.closed || len(e.queue) == 0 {
			e.running = false
			e.mu.Unlock()
			return
		}
		event := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		e.f(event)
	}
}

func (e *events) shutDown() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// shut ends delivery.
func (e *events) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.queue = true, nil
}
