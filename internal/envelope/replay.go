package envelope

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// PageSize is what a page of replay state takes, in bytes, for 4096 messages that
// follow each other. A page whose messages were all handled takes nothing.
const PageSize = 2 * pageBits / 8

const (
	pageBits = 4096
	maxPages = MaxMessages / pageBits
)

// Budget bounds the pages that several Replays hold together. nil has no bound.
type Budget struct {
	left atomic.Int64
	of   *Budget
}

// NewBudget makes a budget of so many pages, which are also taken from another budget
// unless that is nil.
func NewBudget(pages int64, of *Budget) *Budget {
	b := &Budget{of: of}
	b.left.Store(pages)
	return b
}

// Take takes so many pages, if there are as many; what else is of a sender may be counted
// in pages too. Who asks for more than is left keeps nobody from the rest.
func (b *Budget) Take(pages int) bool {
	if b == nil {
		return true
	}
	for {
		left := b.left.Load()
		if left < int64(pages) {
			return false
		}
		if b.left.CompareAndSwap(left, left-int64(pages)) {
			break
		}
	}
	if b.of.Take(pages) {
		return true
	}
	b.left.Add(int64(pages))
	return false
}

// Give gives pages back.
func (b *Budget) Give(pages int) {
	if b != nil {
		b.left.Add(int64(pages))
		b.of.Give(pages)
	}
}

// Replay remembers which messages of one epoch were handled. It is exact, and takes
// at most 256 pages, as they are needed. The zero value is ready, without a budget,
// and safe for concurrent use.
type Replay struct {
	budget *Budget

	mu       sync.Mutex
	released bool
	pages    map[uint32]*page
	full     [maxPages / 64]uint64 // pages whose messages were all handled
}

// NewReplay makes one that keeps to a budget.
func NewReplay(b *Budget) *Replay { return &Replay{budget: b} }

type page struct{ begun, done [pageBits / 64]uint64 }

func (p *page) complete() bool {
	n := 0
	for _, word := range p.done[:] { // not of a copy
		n += bits.OnesCount64(word)
	}
	return n == pageBits
}

// State is what is known of a message.
type State int

// The states.
const (
	Unseen State = iota
	Busy         // it is being handled
	Done         // it was handled
	NoRoom       // it is of a page that the budget has no room for
)

func place(counter uint32) (word uint32, bit uint64) {
	return counter % pageBits / 64, uint64(1) << (counter % 64)
}

// at returns the page of a message, which it makes; nil if there is no room. The
// counter is below MaxMessages, and its page not full.
func (r *Replay) at(counter uint32) *page {
	p := r.pages[counter/pageBits]
	if p != nil || r.released || !r.budget.Take(1) {
		return p
	}
	if r.pages == nil {
		r.pages = make(map[uint32]*page)
	}
	p = new(page)
	r.pages[counter/pageBits] = p
	return p
}

func (r *Replay) isFull(counter uint32) bool {
	n := counter / pageBits
	return r.full[n/64]&(1<<(n%64)) != 0
}

// Begin returns the state of a message, whose counter is below MaxMessages, and makes
// it Busy if it was Unseen: whoever gets Unseen handles it, and calls End.
func (r *Replay) Begin(counter uint32) State {
	word, bit := place(counter)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isFull(counter) {
		return Done
	}
	p := r.at(counter)
	switch {
	case p == nil:
		return NoRoom
	case p.done[word]&bit != 0:
		return Done
	case p.begun[word]&bit != 0:
		return Busy
	}
	p.begun[word] |= bit
	return Unseen
}

// End says that a message was handled, or that it was not and may come again. It does
// nothing for a message that is not Busy.
func (r *Replay) End(counter uint32, handled bool) {
	word, bit := place(counter)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[counter/pageBits]
	if p == nil || p.begun[word]&bit == 0 {
		return
	}
	p.begun[word] &^= bit
	if handled {
		r.done(p, counter)
	}
}

// Handled says of a message that it was handled, in whatever state it is.
func (r *Replay) Handled(counter uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isFull(counter) {
		return
	}
	if p := r.at(counter); p != nil {
		r.done(p, counter)
	}
}

// done marks a message, and lets go of its page with the last one.
func (r *Replay) done(p *page, counter uint32) {
	word, bit := place(counter)
	p.done[word] |= bit
	if p.done[word] != ^uint64(0) || !p.complete() {
		return
	}
	n := counter / pageBits
	delete(r.pages, n)
	r.full[n/64] |= 1 << (n % 64)
	r.budget.Give(1)
}

// Release gives the pages back, for good: there is no room for another. What was
// handled is forgotten.
func (r *Replay) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.released = true
	r.budget.Give(len(r.pages))
	r.pages = nil
	clear(r.full[:])
}
