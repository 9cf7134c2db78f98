package encrypted

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
)

// engine is what all codecs of one NewCodec, ClientOptions or ServerOptions share.
type engine struct {
	id     *identity.Identity
	o      options
	begun  time.Time
	report *reporter
	out    outbox
	in     inbox

	wrapped bool // our handler wrapper is there
	opened  handover
}

func newEngine(id *identity.Identity, opts []Option) *engine {
	e := &engine{id: id, o: newOptions(opts), begun: time.Now()}
	e.report = newReporter(&e.o)
	e.in.init()
	return e
}

// usable says why nothing works, if so.
func (e *engine) usable() error {
	if err := e.id.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	return nil
}

// openedHeader names an opened request in its header, for our handler wrapper.
const (
	openedHeader = "Signet-Opened"
	acceptHeader = "Accept" // which gives way to it
)

// handover is where codecs leave the requests that they have opened for the handler
// wrapper, under names that nobody can guess.
type handover struct {
	mu    sync.Mutex
	slots map[string]*slot
	free  []*slot
}

type slot struct {
	name string
	c    *instance // nil in a slot that is free
}

// leave leaves a request.
func (h *handover) leave(c *instance) (name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.free) == 0 {
		s := &slot{name: rand.Text()}
		if h.slots == nil {
			h.slots = make(map[string]*slot)
		}
		h.slots[s.name] = s
		h.free = append(h.free, s)
	}
	s := h.free[len(h.free)-1]
	h.free = h.free[:len(h.free)-1]
	s.c = c
	return s.name
}

// take picks a request up. It returns nil if there is none.
func (h *handover) take(name string) *instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.slots[name]
	if s == nil || s.c == nil {
		return nil
	}
	c := s.c
	s.c = nil
	h.free = append(h.free, s)
	return c
}

// authorize asks the user's function.
func (e *engine) authorize(peer *identity.Peer, target string) (err error) {
	if e.o.authorize == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &rejected{Unauthorised, fmt.Errorf("Authorize panicked: %v", p), *peer}
		}
	}()
	if err := e.o.authorize(*peer, target); err != nil {
		return &rejected{Unauthorised, err, *peer}
	}
	return nil
}
