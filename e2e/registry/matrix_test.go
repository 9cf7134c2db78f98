package registry_test

import (
	"testing"
	"time"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// TestBackends: a service's life over each registry: it is registered, found and
// called, signed anew, and deregistered, which those who watch learn; and what
// nobody signed is refused.
func TestBackends(t *testing.T) {
	for _, b := range []backend{memory, mdns, overEtcd, plugin} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			life(t, fleetOver(t, b))
		})
	}
}

func life(t *testing.T, f *fleet) {
	const validity = 10 * time.Second // the least, so that it signs anew soon
	greeter := f.join(f.issue("greeter"), as{signed: []registry.Option{signed.Validity(validity)}}).serve(spec{})
	watching := f.join(f.issue("watcher"))
	events := watching.follow()
	c := f.join(f.issue("caller")).caller()
	load := c.load()
	first := c.record()
	if bound, _ := c.id.Directory().Bound(greeter.address); len(bound) != 1 || bound[0] != greeterID {
		t.Errorf("bound to its address: %q", bound)
	}

	junk := node("greeter-2", "127.0.0.1:9", nil)
	f.write(junk)
	t.Cleanup(func() { must(t, f.bare.Deregister(junk)) })
	eventually(t, "the unsigned node is refused", func() bool {
		_, err := c.registry.GetService("greeter")
		must(t, err)
		return c.refused.of("greeter-2", signed.Unsigned)
	})

	eventually(t, "it is signed anew", func() bool { now := c.record(); return now != "" && now != first })
	load.noneFailed()
	if n := greeter.handler.calls.Load(); n < load.ok.Load() {
		t.Errorf("%d calls reached greeter, %d succeeded", n, load.ok.Load())
	}

	greeter.stop()
	events.await("delete", "greeter-1")
	eventually(t, "it is found no more", func() bool { return c.record() == "" })
	if err := c.hello(); err == nil {
		t.Error("a call went through")
	}
}

// record returns the first part of greeter-1's record, "" if it is not found.
func (m *member) record() string {
	m.t.Helper()
	services, err := m.registry.GetService("greeter")
	must(m.t, err)
	for _, s := range services {
		for _, n := range s.Nodes {
			if n.Id == "greeter-1" {
				return n.Metadata["signet-0"]
			}
		}
	}
	return ""
}

// events is what a watcher reports.
type events struct {
	t       *testing.T
	results chan *registry.Result
}

// follow watches everything until the test ends.
func (m *member) follow() *events {
	m.t.Helper()
	w, err := m.registry.Watch()
	must(m.t, err)
	e := &events{m.t, make(chan *registry.Result, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			r, err := w.Next()
			if err != nil {
				return
			}
			e.results <- r
		}
	}()
	m.t.Cleanup(func() {
		w.Stop()
		<-done
	})
	return e
}

// await waits for an event about a node. Every event must be fit for go-micro's
// caches.
func (e *events) await(action, node string) {
	e.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case r := <-e.results:
			if r.Service == nil || len(r.Service.Nodes) == 0 {
				e.t.Errorf("%s without a node: %+v", r.Action, r.Service)
				continue
			}
			for _, n := range r.Service.Nodes {
				if n.Id == "greeter-2" {
					e.t.Errorf("%s of the unsigned node", r.Action)
				}
				if r.Action == action && n.Id == node {
					return
				}
			}
		case <-deadline:
			e.t.Fatalf("no %s of %s within %v", action, node, patience)
		}
	}
}
