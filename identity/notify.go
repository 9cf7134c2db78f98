package identity

import "sync"

// notifier calls functions after changes. Each function has at most one goroutine,
// which lives only while there is something to tell it, so that a slow function
// delays nobody, and nothing has to be stopped. The zero value is ready.
type notifier struct {
	mu     sync.Mutex
	subs   map[*subscriber]struct{}
	closed bool
}

type subscriber struct {
	f  func()
	mu sync.Mutex
	// pending: f is owed a call. running: a goroutine is there to make it.
	pending, running, cancelled bool
}

// add returns what removes f again.
func (n *notifier) add(f func()) (cancel func()) {
	s := &subscriber{f: f}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return func() {}
	}
	if n.subs == nil {
		n.subs = make(map[*subscriber]struct{})
	}
	n.subs[s] = struct{}{}
	return func() {
		n.mu.Lock()
		delete(n.subs, s)
		n.mu.Unlock()
		s.cancel()
	}
}

// notify has every function called. It does not wait.
func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.subs {
		s.wake()
	}
}

// shut removes all functions for good.
func (n *notifier) shut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.subs {
		s.cancel()
	}
	n.subs, n.closed = nil, true
}

func (s *subscriber) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = true
	if !s.running && !s.cancelled {
		s.running = true
		go s.run()
	}
}

func (s *subscriber) cancel() {
	s.mu.Lock()
	s.cancelled = true
	s.mu.Unlock()
}

func (s *subscriber) run() {
	for s.next() {
		s.f()
	}
}

// next takes the call that is owed, if any.
func (s *subscriber) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancelled || !s.pending {
		s.running = false
		return false
	}
	s.pending = false
	return true
}
