package signed

import (
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// Bounds of a watcher.
const (
	maxWaiting   = 1024 // events that wait for Next
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 30 * time.Second
)

// loop is the state of a running watcher, of one goroutine. Whatever could block is
// done in another, which answers through a channel.
type loop struct {
	*watcher
	inner   registry.Watcher      // nil while there is none
	events  chan *registry.Result // from inner
	failed  chan error            // inner has ended
	opened  chan opened           // the answer to a reconnect
	fetched chan *fetch           // the answer to a fetch
	backoff time.Duration         // of reconnects

	waiting  []*registry.Result // for Next
	behind   map[nodeKey]*entry // events are dropped since Next is slow; deletions of these among them
	patience time.Duration      // between fetches that fail
	fetch    *fetch             // under way, or nil
	again    bool               // another is due after it
	doubted  map[nodeKey]string // deletions that the next fetch is to confirm
	clock    *time.Timer        // of the next end
}

type opened struct {
	inner registry.Watcher
	err   error
}

// run follows the inner watcher until Stop.
func (w *watcher) run(inner registry.Watcher) {
	l := &loop{
		watcher: w,
		opened:  make(chan opened),
		fetched: make(chan *fetch),
		clock:   time.NewTimer(0),
		doubted: make(map[nodeKey]string),
	}
	l.follow(inner)
	defer func() {
		l.clock.Stop()
		if l.inner != nil {
			stopInner(l.inner)
		}
	}()
	for l.step() {
	}
}

// step handles one thing that has happened.
func (l *loop) step() bool {
	var out chan *registry.Result
	var first *registry.Result
	if len(l.waiting) > 0 {
		out, first = l.out, l.waiting[0]
	}
	select {
	case <-l.done:
		return false
	case out <- first:
		l.waiting = l.waiting[1:]
		l.catchUp()
	case result := <-l.events:
		l.backoff = 0
		l.event(result)
	case err := <-l.failed:
		l.lost(err)
	case o := <-l.opened:
		l.reconnected(o)
	case f := <-l.fetched:
		l.compare(f)
	case <-l.clock.C:
		l.tick()
	case <-l.box.wake:
		l.mail()
		l.tick()
	}
	return true
}

// follow reads an inner watcher, in a goroutine that ends with it.
func (l *loop) follow(inner registry.Watcher) {
	events, failed := make(chan *registry.Result), make(chan error)
	l.inner, l.events, l.failed = inner, events, failed
	go func() {
		for {
			result, err := inner.Next()
			if err != nil {
				select {
				case failed <- err:
				case <-l.done:
				}
				return
			}
			select {
			case events <- result:
			case <-l.done:
				return
			}
		}
	}()
}

// lost reconnects after a while.
func (l *loop) lost(err error) {
	if l.inner != nil {
		stopInner(l.inner)
	}
	l.inner, l.events, l.failed = nil, nil, nil
	wait := max(l.backoff, firstBackoff)
	l.backoff = min(2*wait, lastBackoff)
	wait += rand.N(wait/2 + 1)
	l.live.report.log.Logf(logger.WarnLevel, "signed: the watch of %s was lost, the next try is in %v: %v", keys.Quote(l.service), wait.Round(time.Millisecond), err)
	go func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-l.done:
			return
		case <-timer.C:
		}
		inner, err := l.live.inner.Watch(l.opts...)
		select {
		case l.opened <- opened{inner, err}:
		case <-l.done:
			if err == nil {
				stopInner(inner)
			}
		}
	}()
}

func (l *loop) reconnected(o opened) {
	if o.err != nil {
		l.lost(o.err)
		return
	}
	l.follow(o.inner)
	l.startFetch() // what happened meanwhile
}

// say queues an event for Next.
func (l *loop) say(result *registry.Result) {
	if l.behind == nil && len(l.waiting) >= maxWaiting {
		l.behind = make(map[nodeKey]*entry)
	}
	if l.behind == nil {
		l.waiting = append(l.waiting, result)
	}
}

// sayGone queues the deletion of an entry, unless its node is back.
func (l *loop) sayGone(n *entry) {
	if l.back(n) {
		return
	}
	l.say(n.result(registry.Delete.String()))
	if l.behind != nil {
		l.behind[nodeKey{n.service, n.id}] = n
	}
}

// catchUp makes up for what was dropped, once Next has taken all that waited: the
// deletions, and an update of all that is there.
func (l *loop) catchUp() {
	if len(l.waiting) > 0 || l.behind == nil {
		return
	}
	gone := l.behind
	l.behind = nil
	for _, n := range gone {
		l.sayGone(n)
	}
	l.startFetch()
}

// event handles an event of the inner registry.
func (l *loop) event(result *registry.Result) {
	if result == nil || result.Service == nil || len(result.Service.Nodes) == 0 {
		return // a delete without nodes would wipe the service out of every cache
	}
	s := result.Service
	if l.service != "" && s.Name != l.service {
		return
	}
	switch result.Action {
	case registry.Create.String(), registry.Update.String():
		for _, out := range assemble(s.Name, l.judge(s)) {
			l.say(&registry.Result{Action: result.Action, Service: out})
		}
	case registry.Delete.String():
		l.deleted(s)
	}
}

// judge judges an event's service, and notes that it is newer than a fetch that is
// under way.
func (l *loop) judge(s *registry.Service) []verdict {
	verdicts := l.live.engine.judge(s.Name, []*registry.Service{s})
	if l.fetch != nil {
		for _, v := range verdicts {
			l.fetch.newer[nodeKey{s.Name, v.node.Id}] = true
		}
	}
	return verdicts
}

// deleted handles a deletion. Nothing vouches for it, so it counts only for what is
// known; but it may carry a withdrawal, which vouches for itself.
func (l *loop) deleted(s *registry.Service) {
	engine := l.live.engine
	if gone := withdrawals(s); gone != nil {
		engine.judge(s.Name, []*registry.Service{gone})
	}
	for _, node := range s.Nodes {
		if node == nil {
			continue
		}
		key := nodeKey{s.Name, node.Id}
		known := engine.state(s.Name, false).named(node.Id)
		switch {
		case l.live.signer.recreate:
			// It may be on its way back, and the two events in no order.
			if len(known) > 0 || engine.audit(s.Name) {
				l.doubted[key] = s.Version
				l.startFetch()
			}
			continue
		case len(known) == 0 && engine.audit(s.Name) && checkSizes(s.Name, s.Version, node) == nil:
			l.say(&registry.Result{Action: registry.Delete.String(), Service: &registry.Service{
				Name: s.Name, Version: s.Version, Nodes: []*registry.Node{copyNode(node)},
			}})
		}
		for _, n := range known {
			engine.remove(n) // and tells us
		}
		if l.fetch != nil {
			l.fetch.newer[key] = true
		}
	}
}

// withdrawals returns the nodes of s whose record says that it is a withdrawal, nil
// if there are none. Whether that is true is for others to find out.
func withdrawals(s *registry.Service) *registry.Service {
	var out *registry.Service
	for _, node := range s.Nodes {
		if node == nil || checkSizes(s.Name, s.Version, node) != nil {
			continue
		}
		carried, err := join(node.Metadata)
		if err != nil || carried == nil {
			continue
		}
		raw, err := unpack(carried)
		if err != nil {
			continue
		}
		if r, err := parseRecord(raw); err != nil || !r.withdrawn {
			continue
		}
		if out == nil {
			out = &registry.Service{Name: s.Name, Version: s.Version, Endpoints: s.Endpoints, Metadata: s.Metadata}
		}
		out.Nodes = append(out.Nodes, node)
	}
	return out
}

// mail handles what others have found out.
func (l *loop) mail() {
	gone, resync := l.box.take()
	for _, n := range gone {
		l.sayGone(n)
	}
	if resync {
		l.startFetch()
	}
}

// back reports whether a node that was gone is known again, in the same version.
func (l *loop) back(gone *entry) bool {
	for _, n := range l.live.engine.state(gone.service, false).named(gone.id) {
		if n.version == gone.version {
			return true
		}
	}
	return false
}

// tick lets go of what has ended, and sets the clock for what ends next.
func (l *loop) tick() {
	now := time.Now()
	l.box.setClock(time.Time{}) // whatever is entered from here on rings
	next := l.live.engine.expire(l.service, now)
	l.box.setClock(next)
	if next.IsZero() {
		l.clock.Stop()
		return
	}
	l.clock.Reset(next.Sub(now))
}
