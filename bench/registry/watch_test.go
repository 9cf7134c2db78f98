package registry

import (
	"errors"
	"testing"

	"go-micro.dev/v4/registry"
)

// script is a registry that is empty, and whose watcher delivers what it is given.
type script struct {
	registry.Registry
	events chan *registry.Result
	done   chan struct{}
}

func newScript() *script {
	return &script{events: make(chan *registry.Result), done: make(chan struct{})}
}

func (s *script) String() string { return "script" }
func (s *script) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return nil, registry.ErrNotFound
}
func (s *script) Watch(...registry.WatchOption) (registry.Watcher, error) { return s, nil }
func (s *script) Stop()                                                   { close(s.done) }
func (s *script) Next() (*registry.Result, error) {
	select {
	case r := <-s.events:
		return r, nil
	case <-s.done:
		return nil, errors.New("stopped")
	}
}

// BenchmarkWatch hands one event after the other through a watcher: in clear, with
// a record that is known, and with one that is new.
func BenchmarkWatch(b *testing.B) {
	f := newFleet(b)
	carrying := registry.NewMemoryRegistry()
	const records = 1000
	f.fill(b, carrying, records, f.certificates(b, 1))
	services, err := carrying.GetService(service)
	if err != nil {
		b.Fatal(err)
	}
	var events []*registry.Result
	for _, node := range services[0].Nodes {
		s := *services[0]
		s.Nodes = []*registry.Node{node}
		events = append(events, &registry.Result{Action: "update", Service: &s})
	}
	deliver := func(b *testing.B, inner *script, w registry.Watcher, event *registry.Result) {
		inner.events <- event
		got, err := w.Next()
		if err != nil || len(got.Service.Nodes) != 1 || got.Service.Nodes[0].Id != event.Service.Nodes[0].Id {
			b.Fatalf("got %v, error %v", got, err)
		}
	}
	open := func(b *testing.B, wrap bool) (*script, registry.Watcher) {
		inner := newScript()
		var r registry.Registry = inner
		if wrap {
			r = f.signed(b, inner, f.reader)
		}
		w, err := r.Watch(registry.WatchService(service))
		if err != nil {
			b.Fatal(err)
		}
		return inner, w
	}
	// The plain script delivers in the goroutine that asks.
	b.Run("plugin=inner/state=unsigned", func(b *testing.B) {
		inner, w := open(b, false)
		defer w.Stop()
		b.ReportAllocs()
		for b.Loop() {
			go func() { inner.events <- events[0] }()
			if _, err := w.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plugin=signed/state=warm", func(b *testing.B) {
		inner, w := open(b, true)
		defer w.Stop()
		deliver(b, inner, w, events[0])
		b.ReportAllocs()
		for b.Loop() {
			deliver(b, inner, w, events[0])
		}
	})
	b.Run("plugin=signed/state=cold", func(b *testing.B) {
		inner, w := open(b, true)
		defer func() { w.Stop() }()
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if n == len(events) { // all are known: begin anew
				b.StopTimer()
				w.Stop()
				inner, w = open(b, true)
				n = 0
				b.StartTimer()
			}
			deliver(b, inner, w, events[n])
			n++
		}
	})
}
