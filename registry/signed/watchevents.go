package signed

import (
	"slices"
	"time"

	"go-micro.dev/v4/registry"
)

// settleTime is how long a registry that recreates nodes may take from forgetting one
// to knowing it again, and from telling of the one to telling of the other.
const settleTime = 500 * time.Millisecond

// event applies an event of the inner registry.
func (w *watcher) event(result *registry.Result) {
	s := result.Service
	if s.Name == "" || len(s.Name) > MaxName || w.service != "" && s.Name != w.service {
		return
	}
	w.mail() // what came before it
	switch result.Action {
	case registry.Create.String(), registry.Update.String():
		w.updated(s)
	case registry.Delete.String():
		w.deleted(s)
	}
}

// updated applies what verifies. A node that is known stays when what replaces it
// does not: whoever writes junk over it cannot take it away before its time.
func (w *watcher) updated(s *registry.Service) {
	for _, v := range w.engine.judge(s.Name, []*registry.Service{s}) {
		w.touch(nodeKey{s.Name, v.node.Id})
		w.apply(v, true)
	}
}

// apply makes a verdict known. The consumer is told if there is news in it.
func (w *watcher) apply(v verdict, news bool) {
	was := w.view.find(nodeKey{v.service, v.node.Id})
	switch {
	case v.withdrawn:
		// The engine has told us, if what we know is its signer's.
		if was != nil && was.entry == nil {
			w.view.remove(was.key())
		}
		return
	case was != nil && was.entry != nil && v.entry == nil:
		return // InsecureAudit lets it through, but not in the place of what verified
	case was == nil && w.view.count >= maxKnown:
		return
	}
	m := newMember(v)
	w.view.put(m, news || was != nil && (was.rumour || !was.tells(m)))
}

// deleted applies the end of nodes. Nothing vouches for it, unless it brings the
// record of a withdrawal. Where it may be one half of a new record, it is believed
// if the registry does not have the node when it is asked a moment later.
func (w *watcher) deleted(s *registry.Service) {
	withdrawn := w.withdrawals(s)
	w.mail()
	named := false
	for _, node := range s.Nodes {
		if node == nil {
			continue
		}
		named = true
		key := nodeKey{s.Name, node.Id}
		w.touch(key)
		w.adopt(key)
		switch recreate := w.live.signer.recreate; {
		case withdrawn[node.Id] || !recreate && !w.overtaken(key, node):
			w.forget(key)
		case w.view.find(key) != nil:
			w.doubt(key)
		case len(w.errands) < maxNames: // its creation may come after its deletion
			w.doubt(key)
		}
	}
	if !named && len(w.view.known[s.Name]) > 0 {
		w.want(s.Name, errand{at: time.Now().Add(settleTime), absence: true})
	}
}

// adopt takes for told what lookups have found and no event was about: the consumer
// may have it from there, and is to hear of its end.
func (w *watcher) adopt(key nodeKey) {
	if w.view.find(key) != nil {
		return
	}
	for _, n := range w.engine.state(key.service, false).named(key.id) {
		if !n.left {
			w.view.put(rumoured(n), false)
			return
		}
	}
}

// rumoured makes a member of which no event was heard.
func rumoured(n *entry) *member {
	m := bareMember(n)
	m.rumour = true
	return m
}

// overtaken reports whether lookups or other watchers have seen a newer record of a
// node than the one whose end we hear of: then it is the end of that one only.
func (w *watcher) overtaken(key nodeKey, node *registry.Node) bool {
	ended := recordOf(node)
	if m := w.view.find(key); ended == nil && m != nil && m.entry != nil {
		ended = m.entry.record
	}
	return ended != nil && slices.ContainsFunc(w.engine.state(key.service, false).named(key.id), func(n *entry) bool {
		return !n.left && n.record.sequence > ended.sequence
	})
}

// forget makes a node unknown whose registry does not have it: here and in the peer
// directory. Other watchers find out by themselves: they may be ahead of us.
func (w *watcher) forget(key nodeKey) {
	w.view.remove(key)
	for _, n := range w.engine.state(key.service, false).named(key.id) {
		w.engine.leave(n)
	}
}

// withdrawals returns which nodes of an event their services have taken back. The
// verdict also raises their floors.
func (w *watcher) withdrawals(s *registry.Service) map[string]bool {
	claimed := *s
	claimed.Nodes = nil
	for _, node := range s.Nodes {
		if r := recordOf(node); r != nil && r.withdrawn {
			claimed.Nodes = append(claimed.Nodes, node)
		}
	}
	if claimed.Nodes == nil {
		return nil
	}
	out := make(map[string]bool)
	for _, v := range w.engine.judge(s.Name, []*registry.Service{&claimed}) {
		if v.withdrawn {
			out[v.node.Id] = true
		}
	}
	return out
}

// recordOf returns the record that a node carries, whether or not it verifies; nil if
// there is none. Deletes carry a withdrawal, the last record or none.
func recordOf(node *registry.Node) *record {
	if node == nil {
		return nil
	}
	carried, err := join(node.Metadata)
	if err != nil || carried == nil {
		return nil
	}
	raw, err := unpack(carried)
	if err != nil {
		return nil
	}
	r, err := parseRecord(raw)
	if err != nil {
		return nil
	}
	return r
}

// mail follows what the engine has found out.
func (w *watcher) mail() {
	gone, all, trust := w.box.take()
	for _, n := range gone {
		w.gone(n)
	}
	if all {
		for _, of := range w.view.known {
			for _, m := range of {
				if m.entry != nil {
					w.gone(m.entry)
				}
			}
		}
	}
	if trust {
		w.want(w.service, errand{})
	}
}

// gone applies that the engine let go of an entry, unless it has another of the same
// node: then a lookup has found its new record before the watch did.
func (w *watcher) gone(n *entry) {
	key := nodeKey{n.service, n.id}
	m := w.view.find(key)
	unheard := m == nil && !n.left
	if unheard { // as in adopt
		m = rumoured(n)
		w.view.put(m, false)
	}
	if m == nil || m.entry == nil {
		return
	}
	renewed := false
	for _, now := range w.engine.state(n.service, false).named(n.id) {
		if now.statement == m.entry.statement {
			return
		}
		renewed = renewed || !now.left
	}
	if !renewed {
		w.view.remove(key)
	}
	if renewed || !unheard && !time.Now().Before(n.until()) {
		w.want(n.service, errand{}) // it may have been renewed unnoticed
	}
}

// expire has the engine let go of what has ended, and notes when the next one ends.
func (w *watcher) expire() {
	w.box.setClock(time.Time{}) // whatever is entered from here on rings
	w.ends = w.engine.expire(w.service, time.Now())
	w.box.setClock(w.ends)
}
