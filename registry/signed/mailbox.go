package signed

import (
	"slices"
	"sync"
	"time"
)

// mailbox is where a watcher learns what has become of entries, whoever found out:
// itself, another watcher, a lookup, or a change of trust.
type mailbox struct {
	service string // "" for all
	// wake holds one token if there is something to look at: entries that are gone,
	// or another time at which the next one ends.
	wake chan struct{}

	mu    sync.Mutex
	gone  []*entry
	all   bool      // more than gone holds
	trust bool      // it has changed: what was refused may be good now
	clock time.Time // when the watcher looks for what has ended; zero if it does not
}

// maxMail is how many entries wait in a mailbox. A watcher that is further behind
// looks at all it knows.
const maxMail = 4096

// watchers are the mailboxes of an engine.
type watchers struct {
	mu    sync.Mutex
	boxes []*mailbox
}

func (e *engine) subscribe(service string) *mailbox {
	box := &mailbox{service: service, wake: make(chan struct{}, 1)}
	e.watchers.mu.Lock()
	defer e.watchers.mu.Unlock()
	e.watchers.boxes = append(slices.Clip(e.watchers.boxes), box)
	return box
}

func (e *engine) unsubscribe(box *mailbox) {
	e.watchers.mu.Lock()
	defer e.watchers.mu.Unlock()
	e.watchers.boxes = slices.DeleteFunc(slices.Clone(e.watchers.boxes), func(b *mailbox) bool { return b == box })
}

// of returns the mailboxes for a service, or all if it is "".
func (w *watchers) of(service string) (boxes []*mailbox) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, box := range w.boxes {
		if service == "" || box.service == "" || box.service == service {
			boxes = append(boxes, box)
		}
	}
	return boxes
}

// tell tells watchers that an entry does not count any more.
func (e *engine) tell(gone *entry) {
	for _, box := range e.watchers.of(gone.service) {
		box.mu.Lock()
		if box.all = box.all || len(box.gone) >= maxMail; !box.all {
			box.gone = append(box.gone, gone)
		}
		box.mu.Unlock()
		box.ring()
	}
}

// wake has watchers look at their clocks, if an entry ends before they would.
func (e *engine) wake(n *entry) {
	until := n.until()
	for _, box := range e.watchers.of(n.service) {
		box.mu.Lock()
		early := box.clock.IsZero() || until.Before(box.clock)
		box.mu.Unlock()
		if early {
			box.ring()
		}
	}
}

// refresh has all watchers ask the registry for what they do not know.
func (e *engine) refresh() {
	for _, box := range e.watchers.of("") {
		box.mu.Lock()
		box.trust = true
		box.mu.Unlock()
		box.ring()
	}
}

func (b *mailbox) ring() { wake(b.wake) }

func (b *mailbox) setClock(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = t
}

func (b *mailbox) take() (gone []*entry, all, trust bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone, all, trust = b.gone, b.all, b.trust
	b.gone, b.all, b.trust = nil, false, false
	return gone, all, trust
}
