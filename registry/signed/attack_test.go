package signed_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// gate is a board whose calls an attacker, or a bad day, holds up or breaks.
type gate struct {
	*board
	mu         sync.Mutex
	registered func(*registry.Service) error // after each Register
	entering   func()                        // before each Register
}

func (g *gate) set(entering func(), registered func(*registry.Service) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entering, g.registered = entering, registered
}

func (g *gate) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	g.mu.Lock()
	entering, registered := g.entering, g.registered
	g.mu.Unlock()
	if entering != nil {
		entering()
	}
	if err := g.board.Register(s, opts...); err != nil {
		return err
	}
	if registered != nil {
		return registered(s)
	}
	return nil
}

// TestRenewalSurvivesChangesOfTrust: the revocation of a stranger has every node
// looked at. That must not cost those which have nothing new to sign their renewal.
func TestRenewalSurvivesChangesOfTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000")))
		f.revoke(f.issue("stranger"))
		synctest.Wait()
		time.Sleep(3 * signed.DefaultValidity)
		wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
	})
}

// TestDeregisterWaitsForRegister: a first Register that the inner registry has not
// answered must not put the node there after its Deregister, and keep it.
func TestDeregisterWaitsForRegister(t *testing.T) {
	inner := &gate{board: newBoard()}
	service := newFleet(t).registry("greeter", inner)
	held, release := make(chan struct{}), make(chan struct{})
	inner.set(func() { close(held); <-release }, nil)
	registered, deregistered := make(chan error, 1), make(chan error, 1)
	go func() { registered <- service.Register(greeter(node("a", "10.0.0.1:8000"))) }()
	<-held
	inner.set(nil, nil)
	go func() { deregistered <- service.Deregister(greeter(node("a", "10.0.0.1:8000"))) }()
	select {
	case err := <-deregistered: // it did not wait
		deregistered <- err
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-registered, <-deregistered); err != nil {
		t.Fatal(err)
	}
	if left := inner.copies("greeter"); len(left) > 0 {
		t.Errorf("%d registrations are left after Deregister", len(left))
	}
}

// TestFailedRegisterIsNotTakenBack: a Register that failed may have got through all
// the same. An older record must not be put back over it, since those who have seen
// the newer would refuse it.
func TestFailedRegisterIsNotTakenBack(t *testing.T) {
	inner, f := &gate{board: newBoard()}, newFleet(t)
	reader, service := f.registry("reader", inner), f.registry("greeter", inner)
	mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
	timeout := errors.New("no answer in time")
	inner.set(nil, func(*registry.Service) error { return timeout })
	if err := service.Register(greeter(node("a", "10.0.0.2:8000"))); !errors.Is(err, timeout) {
		t.Fatalf("got %v, want the inner error", err)
	}
	wantNodes(t, reader, "greeter", "a@10.0.0.2:8000")
	inner.set(nil, nil)
	mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
	wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
}

// TestAlteredForeignNodesAreNotSigned: what carries a record, but not one of ours,
// is somebody else's, all the more if it does not verify any more.
func TestAlteredForeignNodesAreNotSigned(t *testing.T) {
	inner, f := newBoard(), newFleet(t)
	mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000")))
	stolen := inner.one(t, "greeter")
	stolen.Nodes[0].Address = "10.6.6.6:1"
	if err := f.registry("greeter", newBoard()).Register(stolen); !errors.Is(err, signed.ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
}

// TestOldDeleteEndsNoNewerRecord: a watcher that is behind hears of the end of a
// record which lookups, or other watchers, know to be replaced.
func TestOldDeleteEndsNoNewerRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		id := f.issue("reader")
		reader, service := wrap(t, inner, id), f.registry("greeter", inner)
		mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
		o := observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		old := inner.one(t, "greeter")
		changed := node("a", "10.0.0.1:8000")
		changed.Metadata["region"] = "eu-2"
		late := inner.detach()
		mustRegister(t, service, greeter(changed))
		inner.attach(late)
		wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
		inner.push(event("delete", old))
		synctest.Wait()
		if got, _ := id.Directory().Bound("10.0.0.1:8000"); len(got) != 1 {
			t.Errorf("the address of a live node is bound to %v", got)
		}
		time.Sleep(time.Minute)
		o.want(t, "update 1.2.3 a@10.0.0.1:8000")
	})
}

// detach has nobody watch for a while, attach puts it right again.
func (b *board) detach() []*boardWatcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.watchers
	b.watchers = nil
	return was
}

func (b *board) attach(watchers []*boardWatcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers = watchers
}

// TestNodeIsNotTakenFromItsService: another who may register the same name signs for
// our node. We must not take it for theirs, and let ours run out.
func TestNodeIsNotTakenFromItsService(t *testing.T) {
	inner, f := newBoard(), newFleet(t)
	both := signed.Allow("greeter", "mallory")
	service, mallory := f.registry("greeter", inner, both), f.registry("mallory", inner, both)
	mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
	mustRegister(t, mallory, greeter(node("a", "10.6.6.6:1")))
	wantNodes(t, service, "greeter", "a@10.6.6.6:1")
	mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
	wantNodes(t, f.registry("reader", inner, both), "greeter", "a@10.0.0.1:8000")
}

// TestManyEndpointsBesideAlteredMetadata: an answer whose parts do not all verify is
// put together node by node, which must not compare all endpoints with all.
func TestManyEndpointsBesideAlteredMetadata(t *testing.T) {
	inner := newBoard()
	inner.forge(func([]*registry.Service) []*registry.Service {
		s := greeter(many(16000)...)
		for i := range signed.MaxEndpoints {
			s.Endpoints = append(s.Endpoints, &registry.Endpoint{Name: fmt.Sprintf("%0500d", i)})
		}
		s.Endpoints = s.Endpoints[1:]
		s.Metadata = map[string]string{"team": "\xff"}
		return []*registry.Service{s}
	})
	r := newFleet(t).registry("reader", inner, signed.InsecureAudit())
	done := make(chan int)
	go func() { done <- len(found(t, r, "greeter")) }()
	select {
	case got := <-done:
		if got != 16000 {
			t.Errorf("got %d nodes", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not within 20s")
	}
}

// TestEndsOfWhatOnlyLookupsFound: a watcher has missed a node, a lookup has put it in
// the selector's cache. Its end must reach the cache all the same.
func TestEndsOfWhatOnlyLookupsFound(t *testing.T) {
	tests := []struct {
		name string
		end  func(f *fleet, id *identity.Identity, inner, service registry.Registry)
	}{
		{"deregistered", func(_ *fleet, _ *identity.Identity, _, service registry.Registry) {
			mustDeregister(t, service, greeter(node("a", "10.0.0.1:8000")))
		}},
		{"deleted", func(_ *fleet, _ *identity.Identity, inner, _ registry.Registry) {
			mustDeregister(t, inner, greeter(node("a", "10.0.0.1:8000")))
		}},
		{"expired", func(_ *fleet, _ *identity.Identity, _, service registry.Registry) {
			closeRegistry(t, service)
			time.Sleep(signed.DefaultRecreateValidity)
		}},
		{"revoked", func(f *fleet, id *identity.Identity, _, _ registry.Registry) { f.revoke(id) }},
	}
	inners := map[string]func() (registry.Registry, *board){
		"overwriting": func() (registry.Registry, *board) { b := newBoard(); return b, b },
		"recreating":  func() (registry.Registry, *board) { k := newKeeper(); return k, k.board },
	}
	for kind, make := range inners {
		for _, test := range tests {
			t.Run(kind+", "+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					inner, b := make()
					var opts []registry.Option
					if kind == "recreating" {
						opts = append(opts, signed.Recreate())
					}
					f := newFleet(t)
					id := f.issue("greeter")
					reader, service := f.registry("reader", inner, opts...), wrap(t, inner, id, opts...)
					o := observe(t, reader, registry.WatchService("greeter"))
					synctest.Wait()
					late := b.detach()
					mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
					b.attach(late)
					wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
					test.end(f, id, inner, service)
					sleep(settle)
					o.want(t, "delete 1.2.3 a@10.0.0.1:8000")
				})
			})
		}
	}
}

// TestOldDeleteAnnouncesWhatItDidNotEnd: the same of a node that the watcher has not
// heard of. Who follows events only is to hear that it is there.
func TestOldDeleteAnnouncesWhatItDidNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader, service := f.registry("reader", inner), f.registry("greeter", inner)
		o := observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		late := inner.detach()
		mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
		old := inner.one(t, "greeter")
		mustRegister(t, service, greeter(node("a", "10.0.0.2:8000")))
		inner.attach(late)
		wantNodes(t, reader, "greeter", "a@10.0.0.2:8000")
		inner.push(event("delete", old))
		sleep(settle)
		o.want(t, "update 1.2.3 a@10.0.0.2:8000")
	})
}

// TestRevocationTakesKeysOfCardAndRecord: a box key that a card has brought and a
// record has confirmed goes with the trust in its service, also when the record has
// ended long before.
func TestRevocationTakesKeysOfCardAndRecord(t *testing.T) {
	for _, first := range []string{"card", "record"} {
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				reader, greeterID := f.issue("reader"), f.issue("greeter")
				lookups := wrap(t, inner, reader)
				card, err := greeterID.Card()
				if err != nil {
					t.Fatal(err)
				}
				add := func() {
					if err := reader.AddCard(card); err != nil {
						t.Fatal(err)
					}
				}
				if first == "card" {
					add()
				}
				service := wrap(t, inner, greeterID)
				mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
				wantNodes(t, lookups, "greeter", "a@10.0.0.1:8000")
				if first == "record" {
					add()
				}
				closeRegistry(t, service)
				sleep(time.Hour)
				mustRegister(t, f.registry("other", inner), serviceOf("other", node("b", "10.0.0.2:8000")))
				wantNodes(t, lookups, "other", "b@10.0.0.2:8000") // what has ended is swept
				if got := reader.Directory().Keys("greeter"); len(got) != 1 {
					t.Fatalf("%d keys before the revocation, want that of the card", len(got))
				}
				f.revoke(greeterID)
				synctest.Wait()
				if got := reader.Directory().Keys("greeter"); len(got) > 0 {
					t.Errorf("%d keys of a service that is revoked", len(got))
				}
			})
		})
	}
}

// TestRevokedCardLeavesKeyOfRecord: a renewed service keeps its box key. That the card
// of its old certificate is revoked says nothing of what the new one has signed.
func TestRevokedCardLeavesKeyOfRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader, old := f.issue("reader"), f.issue("greeter")
		card, err := old.Card()
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.AddCard(card); err != nil {
			t.Fatal(err)
		}
		service := wrap(t, inner, f.issue("greeter", identity.Renews(old)))
		mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
		wantNodes(t, wrap(t, inner, reader), "greeter", "a@10.0.0.1:8000")
		f.revoke(old)
		synctest.Wait()
		if got := reader.Directory().Keys("greeter"); len(got) != 1 {
			t.Errorf("%d keys, want that of the record", len(got))
		}
		closeRegistry(t, service)
		sleep(time.Hour)
		if got := reader.Directory().Keys("greeter"); len(got) > 0 {
			t.Errorf("%d keys when the record has ended: the card is revoked", len(got))
		}
	})
}

// TestManyVersions: each node of an answer may be of a version of its own.
func TestManyVersions(t *testing.T) {
	const nodes = 16000
	inner := newBoard()
	inner.forge(func([]*registry.Service) []*registry.Service {
		var all []*registry.Service
		for i, n := range many(nodes) {
			all = append(all, &registry.Service{Name: "greeter", Version: fmt.Sprint(i), Nodes: []*registry.Node{n}})
		}
		return all
	})
	r := newFleet(t).registry("reader", inner, signed.InsecureAudit())
	done := make(chan int)
	go func() {
		n := 0
		for range 4 {
			services, err := r.GetService("greeter")
			if err != nil {
				t.Error(err)
			}
			n += len(services)
		}
		done <- n
	}()
	select {
	case got := <-done:
		if got != 4*nodes {
			t.Errorf("got %d versions", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not within 20s")
	}
}
