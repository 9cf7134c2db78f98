package signed_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

const (
	addressA = "10.0.0.1:8000"
	addressB = "10.0.0.2:8000"
)

func TestWatchTells(t *testing.T) {
	for _, watched := range []struct {
		name string
		opts []registry.WatchOption
	}{
		{"of one service", []registry.WatchOption{registry.WatchService("greeter")}},
		{"of all", nil},
	} {
		t.Run(watched.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				greets := f.registry("greeter", inner)
				o := observe(t, f.registry("reader", inner), watched.opts...)
				synctest.Wait()
				mustRegister(t, greets, greeter(node("a", addressA)))
				o.want(t, "create 1.2.3 a@"+addressA)
				mustRegister(t, greets, greeter(node("b", addressB)))
				o.want(t, "create 1.2.3 b@"+addressB)
				mustRegister(t, greets, greeter(node("a", addressA)))
				o.want(t, "update 1.2.3 a@"+addressA) // the same, and a sign of life
				mustRegister(t, greets, greeter(node("a", addressB)))
				o.want(t, "update 1.2.3 a@"+addressB)
				if err := greets.Deregister(greeter(node("a", ""))); err != nil {
					t.Fatal(err)
				}
				o.want(t, "delete 1.2.3 a@"+addressB)
			})
		})
	}
}

func TestWatchTellsWhatWasRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
		synctest.Wait()
		results := o.results()
		inner.push(event("delete", greeter(node("a", addressA))))
		synctest.Wait()
		for _, r := range append(results, o.results()...) {
			s := r.Service
			if s.Name != "greeter" || s.Metadata["team"] != "front" || len(s.Endpoints) != 1 || s.Nodes[0].Metadata["region"] != "eu-1" {
				t.Errorf("%s: %+v is not what was registered", r.Action, s)
			}
			s.Endpoints[0].Name, s.Nodes[0].Metadata["region"] = "changed", "changed" // the result is ours
		}
		if len(results) != 1 {
			t.Errorf("%d results, want 1", len(results))
		}
	})
}

// One event of several nodes is one result.
func TestWatchTellsNodesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		backstage := newBoard()
		mustRegister(t, f.registry("greeter", backstage), greeter(node("a", addressA), node("b", addressB)))
		both, err := backstage.GetService("greeter")
		if err != nil {
			t.Fatal(err)
		}
		both[0].Nodes = append(both[0].Nodes, nil, node("x", addressA))
		inner.push(event("update", both[0]))
		o.want(t, "create 1.2.3 a@"+addressA+" b@"+addressB)
	})
}

// A node in another version is another one for go-micro's caches.
func TestWatchTellsThatAVersionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		greets := f.registry("greeter", inner)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		mustRegister(t, greets, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		next := greeter(node("a", addressA))
		next.Version = "2.0.0"
		mustRegister(t, greets, next)
		o.want(t, "delete 1.2.3 a@"+addressA, "create 2.0.0 a@"+addressA)
	})
}

func TestWatchDropsJunk(t *testing.T) {
	bare := func(action string) *registry.Result {
		return event(action, &registry.Service{Name: "greeter", Version: "1.2.3"})
	}
	for _, junk := range []struct {
		name   string
		result func(good *registry.Service) *registry.Result
	}{
		{"nil", func(*registry.Service) *registry.Result { return nil }},
		{"no service", func(*registry.Service) *registry.Result { return event("update", nil) }},
		{"no service, delete", func(*registry.Service) *registry.Result { return event("delete", nil) }},
		{"no name", func(*registry.Service) *registry.Result {
			return event("update", serviceOf("", node("a", addressA)))
		}},
		{"no nodes, update", func(*registry.Service) *registry.Result { return bare("update") }},
		{"no nodes, delete", func(*registry.Service) *registry.Result { return bare("delete") }},
		{"nil nodes, update", func(*registry.Service) *registry.Result { return event("update", greeter(nil, nil)) }},
		{"nil nodes, delete", func(*registry.Service) *registry.Result { return event("delete", greeter(nil, nil)) }},
		{"nil endpoints", func(*registry.Service) *registry.Result {
			s := greeter(node("x", addressB))
			s.Endpoints = []*registry.Endpoint{nil}
			return event("update", s)
		}},
		{"unsigned", func(*registry.Service) *registry.Result { return event("create", greeter(node("x", addressB))) }},
		{"unsigned, in the place of one that is signed", func(*registry.Service) *registry.Result {
			return event("update", greeter(node("a", addressB)))
		}},
		{"altered", func(good *registry.Service) *registry.Result {
			good.Nodes[0].Address = addressB
			return event("update", good)
		}},
		{"delete of a node that is not known", func(*registry.Service) *registry.Result {
			return event("delete", greeter(node("x", addressB)))
		}},
		{"another service", func(good *registry.Service) *registry.Result {
			good.Name = "billing"
			return event("update", good)
		}},
		{"delete of another service", func(good *registry.Service) *registry.Result {
			good.Name = "billing"
			return event("delete", good)
		}},
		{"unknown action", func(good *registry.Service) *registry.Result { return event("override", good) }},
		{"no action", func(good *registry.Service) *registry.Result { return event("", good) }},
	} {
		t.Run(junk.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				reader := f.registry("reader", inner)
				mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
				o := observe(t, reader, registry.WatchService("greeter"))
				synctest.Wait()
				inner.push(junk.result(inner.one(t, "greeter")))
				o.want(t)
				wantNodes(t, reader, "greeter", "a@"+addressA)
				inner.push(event("delete", inner.one(t, "greeter")))
				o.want(t, "delete 1.2.3 a@"+addressA) // it was known all the time
			})
		})
	}
}

// The inner registry hands out more than was asked for.
func TestWatchOfOneServiceTellsOfNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		bills := f.registry("billing", inner)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		o.want(t)
		mustRegister(t, bills, serviceOf("billing", node("a", addressA)))
		o.want(t)
		mustDeregister(t, bills, serviceOf("billing", node("a", addressA)))
		o.want(t)
	})
}

// A backend that says of a service as a whole that it is deleted is not repeated, but
// asked.
func TestWatchAsksAboutADeleteWithoutNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA), node("b", addressB)))
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		o.want(t)
		inner.lose("greeter", "a")
		inner.push(event("delete", &registry.Service{Name: "greeter"}))
		sleep(settle)
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

func TestReplayAfterDeregisterToALiveWatcher(t *testing.T) {
	for _, backend := range []struct {
		name string
		opts []registry.Option
	}{
		{"overwriting", nil},
		{"recreating", []registry.Option{signed.Recreate()}},
	} {
		t.Run(backend.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, held := newFleet(t), newBoard()
				var inner registry.Registry = held
				if backend.opts != nil {
					inner = keeper{held}
				}
				var rejected rejections
				reader := f.registry("reader", inner, append(backend.opts, rejected.hook())...)
				greets := f.registry("greeter", inner, backend.opts...)
				o := observe(t, reader, registry.WatchService("greeter"))
				synctest.Wait()
				mustRegister(t, greets, greeter(node("a", addressA)))
				o.want(t, "create 1.2.3 a@"+addressA)
				old := held.one(t, "greeter")
				if err := greets.Deregister(greeter(node("a", addressA))); err != nil {
					t.Fatal(err)
				}
				o.want(t, "delete 1.2.3 a@"+addressA) // at once: the withdrawal is signed
				rejected.want(t)
				mustRegister(t, inner, old)
				o.want(t)
				wantNodes(t, reader, "greeter")
				rejected.want(t, signed.Replayed)
			})
		})
	}
}

func TestWatchOverMemory(t *testing.T) {
	inner, f := newMemory(), newFleet(t)
	var rejected rejections
	reader, greets := f.registry("reader", inner, rejected.hook()), f.registry("greeter", inner)
	o := observe(t, reader, registry.WatchService("greeter"))
	heard := func(actions ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(actions), func() bool {
			return slices.ContainsFunc(o.take(), func(what string) bool {
				action, node, _ := strings.Cut(what, " ")
				return slices.Contains(actions, action) && node == "1.2.3 a@"+addressA
			})
		})
	}
	mustRegister(t, greets, greeter(node("a", addressA)))
	heard("create", "update") // it may have been there when the watch began
	held, err := inner.GetService("greeter")
	if err != nil {
		t.Fatal(err)
	}
	if err := greets.Deregister(greeter(node("a", addressA))); err != nil {
		t.Fatal(err)
	}
	heard("delete")
	mustRegister(t, inner, held[0])
	eventually(t, "a rejection", func() bool { return slices.Contains(rejected.reasons(), signed.Replayed) })
	wantNodes(t, reader, "greeter")
	if got := o.take(); len(got) > 0 {
		t.Errorf("told %v", got)
	}
}

// The good node comes through, however much junk there is before and after it, and
// whether or not somebody reads.
func TestFloodOfJunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		greets := f.registry("greeter", inner)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		junk := func(action string) (out []*registry.Result) {
			for _, n := range many(10000) {
				out = append(out, event(action, greeter(n)))
			}
			return out
		}
		inner.push(junk("create")...)
		mustRegister(t, greets, greeter(node("a", addressA)))
		inner.push(junk("delete")...)
		synctest.Wait()
		if got := o.take(); len(got) == 0 || got[0] != "create 1.2.3 a@"+addressA || slices.ContainsFunc(got[1:], func(what string) bool {
			return what != "update 1.2.3 a@"+addressA
		}) {
			t.Errorf("told %q", got)
		}
		inner.push(junk("update")...)
		if err := greets.Deregister(greeter(node("a", addressA))); err != nil {
			t.Fatal(err)
		}
		inner.push(junk("create")...)
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

// A reader that comes late is told what is, not what was.
func TestSlowReaderIsToldTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		greets := f.registry("greeter", inner)
		mustRegister(t, greets, greeter(node("stays", addressA), node("goes", addressB)))
		w, err := f.registry("reader", inner).Watch(registry.WatchService("greeter"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		synctest.Wait()
		for i := range 300 {
			mustRegister(t, greets, greeter(node("moves", fmt.Sprintf("10.0.1.%d:1", i))))
			mustRegister(t, greets, greeter(node("visits", addressB)))
			if err := greets.Deregister(greeter(node("visits", addressB))); err != nil {
				t.Fatal(err)
			}
		}
		if err := greets.Deregister(greeter(node("goes", addressB))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []string
		for range 2 {
			r, err := w.Next()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, told(r))
		}
		slices.Sort(got)
		if want := []string{"create 1.2.3 moves@10.0.1.299:1", "delete 1.2.3 goes@" + addressB}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		next := make(chan *registry.Result, 1)
		go func() {
			r, _ := w.Next()
			next <- r
		}()
		synctest.Wait()
		select {
		case r := <-next:
			t.Errorf("told more: %s", told(r))
		default:
		}
		w.Stop()
		<-next
	})
}
