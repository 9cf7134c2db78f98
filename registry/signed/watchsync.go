package signed

import (
	"errors"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// fetch is a look at all that a watcher is about, made beside its events.
type fetch struct {
	since   time.Time
	answers map[string][]*registry.Service // by name
	err     error
	doubted map[nodeKey]string // → its version
	// newer are the nodes that an event was about meanwhile: it knows better.
	newer map[nodeKey]bool
}

// startFetch looks at the inner registry anew, once at a time.
func (l *loop) startFetch() {
	if l.fetch != nil {
		l.again = true
		return
	}
	f := &fetch{since: time.Now(), doubted: l.doubted, newer: make(map[nodeKey]bool)}
	l.fetch, l.doubted = f, make(map[nodeKey]string)
	go func() {
		f.answers, f.err = l.live.everything(l.service)
		select {
		case l.fetched <- f:
		case <-l.done:
		}
	}()
}

// everything returns what the inner registry has of a service, or of all.
func (l *live) everything(service string) (map[string][]*registry.Service, error) {
	names := []string{service}
	if service == "" {
		list, err := l.inner.ListServices()
		if err != nil {
			return nil, err
		}
		names = namesOf(list)
	}
	answers := make(map[string][]*registry.Service, len(names))
	for _, name := range names {
		answer, err := l.inner.GetService(name, pernode.Option())
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return nil, err
		}
		answers[name] = answer
	}
	return answers, nil
}

// compare reports what a fetch has found: an update of all that verifies, and the
// deletion of what is not there. An mDNS answer lacks nodes that were slow, so there
// only what was said to be deleted is.
func (l *loop) compare(f *fetch) {
	l.fetch = nil
	if l.again {
		l.again = false
		defer l.startFetch()
	}
	if f.err != nil {
		l.live.report.log.Logf(logger.WarnLevel, "signed: the watch of %s could not look what has changed: %v", keys.Quote(l.service), f.err)
		maps.Copy(l.doubted, f.doubted)
		l.lookLater()
		return
	}
	l.patience = 0
	engine := l.live.engine
	there := make(map[*entry]bool)
	seen := make(map[nodeKey]bool)
	for name, answer := range f.answers {
		var fresh []verdict
		for _, v := range engine.judge(name, answer) {
			key := nodeKey{name, v.node.Id}
			seen[key] = true
			if v.entry != nil {
				there[v.entry] = true
			}
			if !f.newer[key] {
				fresh = append(fresh, v)
			}
		}
		for _, s := range assemble(name, fresh) {
			l.say(&registry.Result{Action: registry.Update.String(), Service: s})
		}
	}
	for _, n := range engine.entries(l.service) {
		key := nodeKey{n.service, n.id}
		_, doubted := f.doubted[key]
		if !there[n] && !f.newer[key] && n.entered.Before(f.since) && (doubted || !l.live.signer.mdns) {
			engine.remove(n) // and tells us
		}
	}
	for key, version := range f.doubted {
		if !seen[key] && engine.audit(key.service) {
			l.say(&registry.Result{Action: registry.Delete.String(), Service: &registry.Service{
				Name: key.service, Version: version, Nodes: []*registry.Node{{Id: key.id}},
			}})
		}
	}
}

// lookLater has a fetch that failed made again.
func (l *loop) lookLater() {
	wait := max(l.patience, firstBackoff)
	l.patience = min(2*wait, lastBackoff)
	time.AfterFunc(wait+rand.N(wait/2), func() {
		l.box.mu.Lock()
		l.box.resync = true
		l.box.mu.Unlock()
		l.box.ring()
	})
}
