package signed

import (
	"container/list"
	"maps"
	"sync"

	"go-micro.dev/v4/registry"
)

// member is a node that a watcher knows. What it holds is its own, and does not
// change.
type member struct {
	verdict
	bare bool // a lookup has found it: endpoints and service metadata are not known
	// rumour: it is bare, and known only because it may be about to end. If it does
	// not, the consumer is told of it.
	rumour bool
}

func (m *member) key() nodeKey { return nodeKey{m.service, m.node.Id} }

// tells reports whether a consumer that knows m would learn nothing from other.
func (m *member) tells(other *member) bool {
	if m.bare {
		return other.entry != nil && m.entry.statement == other.entry.statement
	}
	return m.version == other.version && m.node.Address == other.node.Address &&
		maps.Equal(m.node.Metadata, other.node.Metadata) && *m.part.sums() == *other.part.sums()
}

// view is what there is, what the consumer has been told, and in which order it is
// to be told the difference. There is no queue of events that could overflow: a
// node that changes again before it is told is told once. Only run changes what is
// known, so it reads that without the lock.
type view struct {
	mu    sync.Mutex
	known map[string]map[string]*member // service → node id
	count int
	told  map[nodeKey]*member
	news  *list.List // of nodeKey
	next  *list.List // of nodeKey: news after flush, so that what belongs together is told together
	owed  map[nodeKey]*list.Element
	ready chan struct{}
}

func newView() view {
	return view{
		known: make(map[string]map[string]*member),
		told:  make(map[nodeKey]*member),
		news:  list.New(),
		next:  list.New(),
		owed:  make(map[nodeKey]*list.Element),
		ready: make(chan struct{}, 1),
	}
}

// maxTold is of how many nodes a consumer hears the end that it was not told of: what
// it does not fetch stays here.
const maxTold = 2 * maxKnown

// find returns a known node, or nil.
func (v *view) find(key nodeKey) *member { return v.known[key.service][key.id] }

// put makes m known. news: the consumer is to be told, whether or not it differs.
// Otherwise it counts as told if the consumer has not heard of it before.
func (v *view) put(m *member, news bool) {
	key := m.key()
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.known[key.service]
	if of == nil {
		of = make(map[string]*member)
		v.known[key.service] = of
	}
	if of[key.id] == nil {
		v.count++
	}
	of[key.id] = m
	if news {
		v.owe(key)
	} else if v.owed[key] == nil && v.told[key] == nil && len(v.told) < maxTold {
		v.told[key] = m
	}
}

// remove makes a node unknown. The consumer is told if it had heard of it.
func (v *view) remove(key nodeKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.known[key.service]
	if of[key.id] == nil {
		return
	}
	delete(of, key.id)
	v.count--
	if len(of) == 0 {
		delete(v.known, key.service)
	}
	if v.told[key] != nil {
		v.owe(key)
	} else {
		v.settle(key)
	}
}

// owe puts a node in the news. The caller holds mu.
func (v *view) owe(key nodeKey) {
	if v.owed[key] == nil {
		v.owed[key] = v.next.PushBack(key)
	}
}

// flush has all that was changed told.
func (v *view) flush() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for e := v.next.Front(); e != nil; e = e.Next() {
		key := e.Value.(nodeKey)
		v.owed[key] = v.news.PushBack(key)
	}
	v.next.Init()
	if v.news.Len() > 0 {
		wake(v.ready)
	}
}

// settle takes a node out of the news. The caller holds mu.
func (v *view) settle(key nodeKey) {
	if e := v.owed[key]; e != nil {
		v.news.Remove(e) // from the one it is in
		v.next.Remove(e)
		delete(v.owed, key)
	}
}

// take returns what to tell next: nodes of one version of one service.
func (v *view) take() (action string, nodes []verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for e := v.news.Front(); e != nil; e = v.news.Front() {
		key := e.Value.(nodeKey)
		does, m := v.change(key)
		if len(nodes) > 0 && (does != action || m.service != nodes[0].service || m.version != nodes[0].version) {
			wake(v.ready) // for another Next at the same time
			break
		}
		action, nodes = does, append(nodes, m.verdict)
		if does != "delete" {
			v.told[key] = m
			v.settle(key)
			continue
		}
		delete(v.told, key)
		if v.find(key) == nil {
			v.settle(key) // else it is there in another version: the next to tell
		}
	}
	return action, nodes
}

// change returns what has changed about a node in the news. One of the two is there.
func (v *view) change(key nodeKey) (action string, m *member) {
	now, was := v.find(key), v.told[key]
	switch {
	case was == nil:
		return "create", now
	case now == nil || now.version != was.version:
		return "delete", was
	}
	return "update", now
}

// newMember copies a verdict, which is the registry's.
func newMember(v verdict) *member {
	m := &member{verdict: v}
	o := *v.offer
	o.part = v.part.own()
	if v.entry != nil {
		o.node = v.entry.node()
	} else {
		o.node = copyNode(v.node)
	}
	m.offer = &o
	return m
}

// bareMember makes a member of an entry.
func bareMember(n *entry) *member {
	o := &offer{service: n.service, version: n.version, node: n.node(), part: digested(sums{})}
	return &member{verdict: verdict{offer: o, entry: n}, bare: true}
}

// node returns the entry's node, which is not to be changed.
func (e *entry) node() *registry.Node {
	return &registry.Node{Id: e.id, Address: e.address, Metadata: e.metadata}
}

// own returns a copy of p with its digests, and without what has none. What verified
// once is shared by all nodes of a service.
func (p *parts) own() *parts {
	out := digested(*p.sums())
	if known := p.state.sums.Load(); known != nil {
		for _, k := range *known {
			if k.sums == out.made {
				out.endpoints, out.metadata = k.endpoints, k.metadata
				return out
			}
		}
	}
	if out.made.endpointsErr == nil {
		out.endpoints = copyEndpoints(p.endpoints)
	}
	if out.made.metadataErr == nil {
		out.metadata = maps.Clone(p.metadata)
	}
	return out
}

// digested returns parts whose digests are made.
func digested(made sums) *parts {
	out := &parts{made: made}
	out.once.Do(func() {})
	return out
}
