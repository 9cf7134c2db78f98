package signed

import (
	"fmt"
	"testing"
	"time"

	"go-micro.dev/v4/registry"
)

// Watchers tells other tests how many watchers a registry has.
func Watchers(r registry.Registry) int {
	l, err := r.(*signedRegistry).use()
	if err != nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func viewMember(id, version string) *member {
	o := &offer{service: "greeter", version: version, node: &registry.Node{Id: id}, part: digested(sums{})}
	return &member{verdict: verdict{offer: o}}
}

// A consumer that never asks does not fill the memory, whatever comes and goes.
func TestViewForgetsWhatNobodyWasTold(t *testing.T) {
	v := newView()
	for i := range 10000 {
		m := viewMember(fmt.Sprint(i), "1")
		v.put(m, true)
		if i%2 == 0 {
			v.flush()
		}
		v.remove(m.key())
	}
	if v.count != 0 || len(v.known) != 0 || len(v.told) != 0 || len(v.owed) != 0 || v.news.Len() != 0 || v.next.Len() != 0 {
		t.Errorf("kept: count %d, %d services, %d told, %d owed, %d and %d in the news", v.count, len(v.known), len(v.told), len(v.owed), v.news.Len(), v.next.Len())
	}
	if action, nodes := v.take(); nodes != nil {
		t.Errorf("told %s of %d nodes", action, len(nodes))
	}
}

// The same of what it may have heard of elsewhere.
func TestViewIsBounded(t *testing.T) {
	v := newView()
	for i := range maxTold + 100 {
		m := viewMember(fmt.Sprint(i), "1")
		v.put(m, false)
		v.remove(m.key())
	}
	if len(v.told) > maxTold || len(v.owed) > maxTold {
		t.Errorf("%d told, %d owed, want at most %d", len(v.told), len(v.owed), maxTold)
	}
}

func TestViewTellsTheDifference(t *testing.T) {
	a1, a2, other := viewMember("a", "1"), viewMember("a", "2"), viewMember("b", "1")
	tests := []struct {
		name string
		do   func(v *view)
		want []string
	}{
		{"nothing", func(*view) {}, nil},
		{"there before", func(v *view) { v.put(a1, false) }, nil},
		{"not flushed", func(v *view) { v.flush(); v.put(a1, true) }, nil},
		{"created", func(v *view) { v.put(a1, true) }, []string{"create 1 1"}},
		{"created together", func(v *view) { v.put(a1, true); v.put(other, true) }, []string{"create 1 2"}},
		{"created and removed", func(v *view) { v.put(a1, true); v.remove(a1.key()) }, nil},
		{"updated", func(v *view) { v.put(a1, false); v.put(a1, true) }, []string{"update 1 1"}},
		{"removed", func(v *view) { v.put(a1, false); v.remove(a1.key()) }, []string{"delete 1 1"}},
		{"removed twice", func(v *view) { v.put(a1, false); v.remove(a1.key()); v.remove(a1.key()) }, []string{"delete 1 1"}},
		{"removed and back", func(v *view) { v.put(a1, false); v.remove(a1.key()); v.put(a1, true) }, []string{"update 1 1"}},
		{"another version", func(v *view) { v.put(a1, false); v.put(a2, true) }, []string{"delete 1 1", "create 2 1"}},
		{"another version, and removed", func(v *view) { v.put(a1, false); v.put(a2, true); v.remove(a2.key()) }, []string{"delete 1 1"}},
		{"one of each", func(v *view) { v.put(a1, false); v.remove(a1.key()); v.put(other, true) }, []string{"delete 1 1", "create 1 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := newView()
			tt.do(&v)
			if tt.name != "not flushed" {
				v.flush()
			}
			var got []string
			for action, nodes := v.take(); nodes != nil; action, nodes = v.take() {
				got = append(got, fmt.Sprint(action, " ", nodes[0].version, " ", len(nodes)))
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

// What is published again unchanged is not verified again: the entry stays the one it
// was.
func TestIdenticalRepublishCostsNoSignatureCheck(t *testing.T) {
	fleet := newInspectFleet(t)
	r := NewRegistry(Wrap(registry.NewMemoryRegistry()), Identity(fleet.billing)).(*signedRegistry)
	defer r.Close()
	l, err := r.use()
	if err != nil {
		t.Fatal(err)
	}
	w := newWatcher(l, "greeter", nil)
	defer w.Stop()
	s := inspectSign(t, fleet.greeter, greeterService(), nil)
	known := func() *entry {
		entries := l.engine.entries("greeter")
		if len(entries) != 1 {
			t.Fatalf("%d entries, want 1", len(entries))
		}
		return entries[0]
	}
	w.event(&registry.Result{Action: "create", Service: s})
	first := known()
	for range 3 {
		again := *s
		again.Nodes = copyNodes(s.Nodes)
		w.event(&registry.Result{Action: "update", Service: &again})
		if known() != first {
			t.Fatal("the node was verified again")
		}
	}
	w.view.flush()
	if action, nodes := w.view.take(); action != "create" || len(nodes) != 1 {
		t.Errorf("told %s of %d nodes", action, len(nodes))
	}
	w.event(&registry.Result{Action: "update", Service: s})
	w.view.flush()
	if action, nodes := w.view.take(); action != "update" || len(nodes) != 1 {
		t.Errorf("a sign of life is not told: %s of %d nodes", action, len(nodes))
	}
}

// Whatever a mailbox cannot hold is looked for.
func TestFullMailboxLosesNothing(t *testing.T) {
	fleet := newInspectFleet(t)
	r := NewRegistry(Wrap(registry.NewMemoryRegistry()), Identity(fleet.billing)).(*signedRegistry)
	defer r.Close()
	l, err := r.use()
	if err != nil {
		t.Fatal(err)
	}
	w := newWatcher(l, "greeter", nil)
	defer w.Stop()
	w.event(&registry.Result{Action: "create", Service: inspectSign(t, fleet.greeter, greeterService(), nil)})
	n := l.engine.entries("greeter")[0]
	for range 2 * maxMail {
		l.engine.tell(&entry{service: "greeter", id: "other", record: new(record), left: true})
	}
	if got := len(w.box.gone); got > maxMail {
		t.Errorf("%d in the mailbox, want at most %d", got, maxMail)
	}
	l.engine.drop(n)
	w.mail()
	if len(w.view.known) != 0 {
		t.Error("a node that is not trusted any more is still known")
	}
}

// A watch that begins while the registry is closed ends with it.
func TestNoWatchAfterClose(t *testing.T) {
	r := NewRegistry(Wrap(registry.NewMemoryRegistry()), Identity(newInspectFleet(t).billing)).(*signedRegistry)
	l, err := r.use()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	w := newWatcher(l, "greeter", nil)
	defer w.Stop()
	if l.watching(w) {
		t.Error("nobody will stop this watcher")
	}
}

// Questions are put off, joined and bounded, whatever events ask.
func TestErrandsAreJoined(t *testing.T) {
	now := time.Now()
	w := &watcher{asking: asking{errands: make(map[string]*errand)}}
	w.want("s", errand{at: now, base: true})
	w.want("s", errand{at: now.Add(-time.Second), absence: true, gone: map[string]bool{"a": true}})
	w.want("s", errand{at: now.Add(time.Second), gone: map[string]bool{"b": true}})
	e := w.errands["s"]
	if len(w.errands) != 1 || !e.at.Equal(now.Add(-time.Second)) || e.base || !e.absence || !e.gone["a"] || !e.gone["b"] {
		t.Errorf("joined to %+v", e)
	}
	w.want("s", errand{at: now.Add(time.Minute), failures: 3})
	w.want("s", errand{})
	if e.failures != 3 || !e.at.Equal(now.Add(time.Minute)) {
		t.Errorf("a question that has failed is not put off: %+v", e)
	}
	for i := range 2 * maxTouched {
		w.want("s", errand{gone: map[string]bool{fmt.Sprint(i): true}})
	}
	if len(e.gone) > maxTouched {
		t.Errorf("%d nodes in doubt, want at most %d", len(e.gone), maxTouched)
	}
}
