package envelope

import "sync"

// Replay remembers which messages of one epoch were handled. It is exact, and takes
// at most 256 KiB, in pages of 1 KiB as they are needed. The zero value is ready, and
// safe for concurrent use.
type Replay struct {
	mu    sync.Mutex
	pages map[uint32]*page
}

const pageBits = 4096

type page struct{ begun, done [pageBits / 64]uint64 }

// State is what is known of a message.
type State int

// The states.
const (
	Unseen State = iota
	Busy         // it is being handled
	Done         // it was handled
)

// Begin returns the state of a message, and makes it Busy if it was Unseen: whoever
// gets Unseen handles it, and calls End.
func (r *Replay) Begin(counter uint32) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[counter/pageBits]
	if p == nil {
		if r.pages == nil {
			r.pages = make(map[uint32]*page)
		}
		p = new(page)
		r.pages[counter/pageBits] = p
	}
	word, bit := counter%pageBits/64, uint64(1)<<(counter%64)
	switch {
	case p.done[word]&bit != 0:
		return Done
	case p.begun[word]&bit != 0:
		return Busy
	}
	p.begun[word] |= bit
	return Unseen
}

// End says that a message was handled, or that it was not and may come again.
func (r *Replay) End(counter uint32, handled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[counter/pageBits]
	if p == nil {
		return
	}
	word, bit := counter%pageBits/64, uint64(1)<<(counter%64)
	if p.begun[word]&bit == 0 {
		return
	}
	p.begun[word] &^= bit
	if handled {
		p.done[word] |= bit
	}
}
