package encrypted

import "sync"

// maxNodes is how many nodes an epoch remembers to know it. Others get it each time.
const maxNodes = 4096

// nodes are those that know an epoch of ours, by their addresses: who has answered a
// request of it can open the next one without it.
type nodes struct {
	mu    sync.RWMutex
	known map[string]*node
}

// node is who answers at an address: one process, or one after the other, or several
// behind a balancer, some of which may not know the epoch.
type node struct {
	mu       sync.Mutex
	knows    bool
	refusals int // of requests without their epoch, which were not sent at the same time
	inline   int // requests that bring the epoch before one goes without it
}

// maxPatience bounds how many requests bring the epoch after a refusal, as a power of 2.
const maxPatience = 16

// lean reports whether the next request to an address goes without its epoch. What is
// returned with it is for refused.
func (n *nodes) lean(address string) (at *node, refusals int, yes bool) {
	n.mu.RLock()
	at = n.known[address]
	n.mu.RUnlock()
	if at == nil {
		return nil, 0, false
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	if !at.knows {
		return nil, 0, false
	}
	if at.inline > 0 {
		at.inline--
		return nil, 0, false
	}
	return at, at.refusals, true
}

// answered notes that a request that has brought the epoch was answered, by who could open
// it.
func (n *nodes) answered(address string) {
	n.mu.RLock()
	at := n.known[address]
	n.mu.RUnlock()
	if at == nil {
		if at = n.add(address); at == nil {
			return
		}
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.knows = true
}

func (n *nodes) add(address string) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.known[address]; at != nil || len(n.known) >= maxNodes {
		return at
	}
	if n.known == nil {
		n.known = make(map[string]*node)
	}
	at := new(node)
	n.known[address] = at
	return at
}

// refused notes that a request without its epoch was refused. Each time twice as many
// requests bring it before one goes without it again, so that all processes behind one
// address get to know it, and who forges refusals gains little. Of requests that were on
// their way together one counts.
func (n *node) refused(refusals int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refusals != refusals {
		return
	}
	n.knows = false
	n.inline = 1<<min(n.refusals, maxPatience) - 1
	n.refusals++
}
