package etcd

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"go-micro.dev/v4/registry"
)

// change is one event for the caller.
type change struct {
	key    string
	action string // as go-micro names them
	record *record
}

const (
	created = "create"
	updated = "update"
	deleted = "delete"
)

// feed holds the changes between etcd and the caller of Next. It knows what there is
// and what the caller has been told, so that it can forget changes when there are too
// many and tell the difference instead.
type feed struct {
	limits Limits
	ready  chan struct{} // has room for one: there may be something to deliver

	mu       sync.Mutex
	now      map[string]*record // what there is, by key
	bytes    int
	told     map[string]*record // what the caller knows
	queue    []change
	queued   int  // bytes in the queue
	overflow bool // the queue was given up: the difference is due
}

func newFeed(limits Limits, base []*record) *feed {
	f := &feed{limits: limits, ready: make(chan struct{}, 1), now: map[string]*record{}, told: map[string]*record{}}
	for _, rec := range base {
		f.store(rec.key(), rec)
		f.told[rec.key()] = rec
	}
	return f
}

// key tells records apart within one registry.
func (rec *record) key() string { return nodeKey("", rec.service, rec.id) }

// put takes in that rec is at key now.
func (f *feed) put(key string, rec *record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.now[key]
	switch {
	case !f.store(key, rec):
		// Beyond the limits it is left out, and what it replaces is gone.
		if old != nil {
			f.add(change{key, deleted, old})
		}
	case old == nil:
		f.add(change{key, created, rec})
	case old.version != rec.version:
		// The node left one version and joined another.
		f.add(change{key, deleted, old})
		f.add(change{key, created, rec})
	default:
		f.add(change{key, updated, rec})
	}
}

// remove takes in that nothing is at key any more. before is what etcd says was
// there, for a record that was too much to remember.
func (f *feed) remove(key string, before *record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.now[key]
	if old == nil {
		old = before
	}
	if old == nil {
		return
	}
	f.add(change{key, deleted, old})
	f.store(key, nil)
}

// reset takes in a snapshot: what differs from it has changed in between.
func (f *feed) reset(records []*record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.now
	f.now, f.bytes = map[string]*record{}, 0
	for _, rec := range records {
		f.store(rec.key(), rec)
	}
	for _, c := range difference(before, f.now) {
		f.add(c)
	}
}

// next returns the oldest change that is to be delivered, and nil if there is none.
func (f *feed) next() *registry.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 && f.overflow {
		f.queue, f.overflow = difference(f.told, f.now), false
		for _, c := range f.queue {
			f.queued += len(c.record.value)
		}
	}
	for len(f.queue) > 0 {
		c := f.queue[0]
		f.queue = f.queue[1:]
		f.queued -= len(c.record.value)
		if c.action == deleted {
			delete(f.told, c.key)
		} else {
			f.told[c.key] = c.record
		}
		if s := c.record.decode(); s != nil {
			f.signal(len(f.queue) > 0)
			return &registry.Result{Action: c.action, Service: &s.Service}
		}
	}
	return nil
}

// add queues a change.
func (f *feed) add(c change) {
	if !f.overflow {
		f.queue = append(f.queue, c)
		f.queued += len(c.record.value)
		if len(f.queue) > f.limits.Events || f.queued > f.limits.Total {
			f.queue, f.queued, f.overflow = nil, 0, true
		}
	}
	f.signal(true)
}

func (f *feed) signal(is bool) {
	if !is {
		return
	}
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// store remembers what is at key; it returns false if that is beyond the limits.
func (f *feed) store(key string, rec *record) bool {
	if old := f.now[key]; old != nil {
		f.bytes -= len(old.value)
		delete(f.now, key)
	}
	if rec == nil || len(f.now) >= f.limits.Records || f.bytes+len(rec.value) > f.limits.Total {
		return rec == nil
	}
	f.now[key] = rec
	f.bytes += len(rec.value)
	return true
}

// difference lists what leads from one state to another, in the order of keys.
func difference(from, to map[string]*record) []change {
	var list []change
	for key, old := range from {
		switch rec := to[key]; {
		case rec == nil:
			list = append(list, change{key, deleted, old})
		case rec.version != old.version:
			list = append(list, change{key, deleted, old}, change{key, created, rec})
		case rec.rev != old.rev || !bytes.Equal(rec.value, old.value):
			// A restored etcd gives a revision a second time.
			list = append(list, change{key, updated, rec})
		}
	}
	for key, rec := range to {
		if from[key] == nil {
			list = append(list, change{key, created, rec})
		}
	}
	slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(a.key, b.key) })
	return list
}
