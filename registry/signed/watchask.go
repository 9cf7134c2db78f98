package signed

import (
	"errors"
	"maps"
	"time"

	"github.com/go-signet/signet/internal/pernode"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// maxTouched is how many nodes may change while a registry answers, before its
// answer is taken for stale as a whole.
const maxTouched = 16384

// asking is how a watcher asks the inner registry: for one service after the other,
// in a goroutine that hands back the answer.
type asking struct {
	errands map[string]*errand // by service; "" is the list of all
	reading *reading           // under way, or nil
	answers chan *reading
}

// errand is a question that is to be asked.
type errand struct {
	at       time.Time       // not before
	base     bool            // what is found was there before the watch: no news
	absence  bool            // what is not found is gone
	gone     map[string]bool // node ids that are said to be deleted: gone if not found
	failures int
}

// reading is a question that has been asked.
type reading struct {
	service string
	errand  *errand
	// touched are nodes that an event was about meanwhile: it knows better.
	touched map[string]bool
	void    bool

	answer []*registry.Service
	err    error
}

// want has a service asked for, or all services, "".
func (w *watcher) want(service string, more errand) {
	e := w.errands[service]
	if e == nil {
		w.errands[service] = &more
		return
	}
	switch {
	case more.failures > 0:
		e.at = later(e.at, more.at)
	case e.failures == 0 && more.at.Before(e.at):
		e.at = more.at
	}
	e.base, e.absence, e.failures = e.base && more.base, e.absence || more.absence, max(e.failures, more.failures)
	if e.gone == nil {
		e.gone = more.gone
		return
	}
	if len(e.gone) >= maxTouched {
		e.absence = true // which says more
		return
	}
	maps.Copy(e.gone, more.gone)
}

// doubt has a node asked for when its registry has had time to settle. If it is not
// found then, it is gone.
func (w *watcher) doubt(key nodeKey) {
	w.want(key.service, errand{at: time.Now().Add(settleTime), gone: map[string]bool{key.id: true}})
}

// touch notes that an event was about a node.
func (w *watcher) touch(key nodeKey) {
	if e := w.errands[key.service]; e != nil && w.live.signer.mdns {
		delete(e.gone, key.id) // it is back, and an answer may lack it all the same
	}
	r := w.reading
	if r == nil || r.service != key.service || r.void {
		return
	}
	r.touched[key.id] = true
	r.void = len(r.touched) >= maxTouched
}

// due returns when to ask next; zero if there is nothing to ask, or if an answer is
// awaited.
func (w *watcher) due() (at time.Time) {
	if w.reading == nil {
		_, at = w.first()
	}
	return at
}

func (w *watcher) first() (service string, at time.Time) {
	for name, e := range w.errands {
		if at.IsZero() || e.at.Before(at) {
			service, at = name, e.at
			if at.IsZero() {
				at = time.Unix(0, 0)
			}
		}
	}
	return service, at
}

// ask asks the question that is due, if no answer is awaited.
func (w *watcher) ask() {
	if w.reading != nil || len(w.errands) == 0 {
		return
	}
	service, at := w.first()
	if time.Now().Before(at) {
		return
	}
	r := &reading{service: service, errand: w.errands[service], touched: make(map[string]bool)}
	delete(w.errands, service)
	w.reading = r
	go func() {
		if service == "" {
			r.answer, r.err = w.live.inner.ListServices()
		} else {
			r.answer, r.err = w.live.inner.GetService(service, pernode.Option())
		}
		if errors.Is(r.err, registry.ErrNotFound) {
			r.answer, r.err = nil, nil
		}
		select {
		case w.answers <- r:
		case <-w.done:
		}
	}()
}

// answered applies an answer. One that failed changes nothing, and is asked for
// again.
func (w *watcher) answered(r *reading) {
	w.reading = nil
	e := r.errand
	switch {
	case r.err != nil:
		wait := backoff(e.failures)
		w.live.report.log.Logf(logger.WarnLevel, "signed: the watch could not ask for %s, the next try is in %v: %v", called(r.service), wait.Round(time.Millisecond), r.err)
		e.at = time.Now().Add(wait)
		e.failures++
		w.want(r.service, *e)
	case r.service == "":
		for _, s := range w.engine.listed(r.answer) {
			w.want(s.Name, *e)
		}
		for name := range w.view.known {
			w.want(name, *e)
		}
	case r.void:
		w.want(r.service, *e)
	default:
		w.compare(r)
	}
}

// compare takes an answer for what there is, but for nodes that have changed since.
func (w *watcher) compare(r *reading) {
	e := r.errand
	there, verified := make(map[string]bool), make(map[string]bool)
	for _, s := range r.answer {
		if s == nil {
			continue
		}
		for _, node := range s.Nodes {
			if node != nil {
				there[node.Id] = true
			}
		}
	}
	for _, v := range w.engine.judge(r.service, r.answer) {
		verified[v.node.Id] = !v.withdrawn
		known := w.view.find(nodeKey{r.service, v.node.Id}) != nil
		switch {
		case !r.touched[v.node.Id]:
			w.apply(v, !e.base && !known)
		case !known && v.entry != nil: // it was deleted after the registry answered
			w.engine.leave(v.entry)
		}
	}
	for id := range w.view.known[r.service] {
		key := nodeKey{r.service, id}
		switch absent := e.absence && !there[id]; {
		case r.touched[id] || verified[id]:
		case e.gone[id], absent && !w.live.signer.recreate:
			w.forget(key)
		case absent && !w.live.signer.mdns: // it may be between two records
			w.doubt(key)
		}
	}
}
