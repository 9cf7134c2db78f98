package signed_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// orphan registers a greeter that will not be renewed.
func orphan(t testing.TB, inner registry.Registry, id *identity.Identity, s *registry.Service, opts ...registry.Option) {
	t.Helper()
	r := signed.NewRegistry(append(opts, signed.Wrap(inner), signed.Identity(id), registry.Logger(quiet))...)
	mustRegister(t, r, s)
	closeRegistry(t, r)
}

func TestWatchTellsTheEnd(t *testing.T) {
	tests := []struct {
		name  string
		leaf  time.Duration
		lasts time.Duration
	}{
		{"of the record", time.Hour, signed.DefaultValidity},
		{"of the certificate", 3 * time.Minute, 3 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				id := f.issue("reader")
				reader := wrap(t, inner, id)
				before := observe(t, reader, registry.WatchService("greeter"))
				synctest.Wait()
				orphan(t, inner, f.issue("greeter", identity.ValidFor(tt.leaf)), greeter(node("a", addressA)))
				before.want(t, "create 1.2.3 a@"+addressA)
				after := observe(t, reader) // it finds the node there
				after.want(t)
				sleep(tt.lasts - 2*time.Second)
				before.want(t)
				after.want(t)
				wantBound(t, id, addressA, "spiffe://shop.internal/greeter")
				sleep(3 * time.Second)
				before.want(t, "delete 1.2.3 a@"+addressA)
				after.want(t, "delete 1.2.3 a@"+addressA)
				wantBound(t, id, addressA)
				wantNodes(t, reader, "greeter")
			})
		})
	}
}

// A watch of an idle service does nothing, so that its end is noticed by its clock.
func TestNodesEndInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, f.issue("greeter"), greeter(node("long", addressA)), signed.Validity(time.Hour))
		o.want(t, "create 1.2.3 long@"+addressA)
		orphan(t, inner, f.issue("greeter"), greeter(node("short", addressB)), signed.Validity(time.Minute))
		o.want(t, "create 1.2.3 short@"+addressB)
		sleep(time.Minute)
		o.want(t, "delete 1.2.3 short@"+addressB)
		sleep(58 * time.Minute)
		o.want(t)
		sleep(2 * time.Minute)
		o.want(t, "delete 1.2.3 long@"+addressA)
	})
}

func TestRenewalIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		o := observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
		sleep(3 * signed.DefaultValidity)
		for _, what := range o.take()[1:] {
			if what != "update 1.2.3 a@"+addressA {
				t.Errorf("told %q", what)
			}
		}
		wantNodes(t, reader, "greeter", "a@"+addressA)
	})
}

// The watch misses the new record, and a lookup finds it.
func TestWhatALookupHasRenewedDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		reader := f.registry("reader", inner)
		id := f.issue("greeter")
		o := observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, id, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		sleep(5 * time.Minute)
		renewed := newBoard()
		orphan(t, renewed, id, greeter(node("a", addressA)))
		inner.replace(renewed)
		wantNodes(t, reader, "greeter", "a@"+addressA)
		o.want(t)
		sleep(8 * time.Minute) // beyond the end of the first
		o.want(t)
		sleep(3 * time.Minute) // and of the second
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

// Nobody finds the new record until the old one has ended.
func TestWhatWasRenewedUnnoticedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		id := f.issue("greeter")
		o := observe(t, f.registry("reader", inner), registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, id, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		sleep(5 * time.Minute)
		renewed := newBoard()
		orphan(t, renewed, id, greeter(node("a", addressA)))
		inner.replace(renewed)
		sleep(6 * time.Minute)
		got := o.take()
		if len(got) == 0 || got[len(got)-1] == "delete 1.2.3 a@"+addressA {
			t.Errorf("told %q, want the node there in the end", got)
		}
	})
}

func TestAllNodesRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		var rejected rejections
		self, evil, good := f.issue("reader"), f.issue("greeter"), f.issue("billing")
		reader := wrap(t, inner, self, rejected.hook())
		mustRegister(t, wrap(t, inner, evil), greeter(node("a", addressA), node("b", addressB)))
		mustRegister(t, wrap(t, inner, good), serviceOf("billing", node("c", "10.0.0.3:8000")))
		one, all := observe(t, reader, registry.WatchService("greeter")), observe(t, reader)
		one.want(t)
		wantBound(t, self, addressA, evil.ID())
		f.revoke(evil)
		synctest.Wait()
		for _, o := range []*observer{one, all} {
			got := o.take()
			slices.Sort(got)
			if want := "delete 1.2.3 a@" + addressA + " b@" + addressB; !slices.Equal(got, []string{want}) && !slices.Equal(got, []string{"delete 1.2.3 a@" + addressA, "delete 1.2.3 b@" + addressB}) {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		wantBound(t, self, addressA)
		wantBound(t, self, "10.0.0.3:8000", good.ID())
		wantNodes(t, reader, "greeter")
		for _, reason := range rejected.reasons() {
			if reason != signed.Revoked {
				t.Errorf("rejected as %s", reason)
			}
		}
	})
}

// Trust changes to the better: what was refused is asked for again.
func TestWhatIsTrustedAfterAllIsTold(t *testing.T) {
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
				var open atomic.Bool
				reader := f.registry("reader", inner, signed.Authorize(func(identity.Peer, *registry.Service) error {
					if !open.Load() {
						return errors.New("closed")
					}
					return nil
				}))
				o := observe(t, reader, watched.opts...)
				synctest.Wait()
				mustRegister(t, f.registry("greeter", inner), greeter(node("a", addressA)))
				o.want(t)
				open.Store(true)
				f.revoke(f.issue("somebody"))
				o.want(t, "create 1.2.3 a@"+addressA)
				f.revoke(f.issue("somebody"))
				o.want(t) // nothing new
			})
		})
	}
}

func TestDirectoryForgetsWhatIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		self, id := f.issue("reader"), f.issue("greeter")
		o := observe(t, wrap(t, inner, self), registry.WatchService("greeter"))
		synctest.Wait()
		greets := wrap(t, inner, id)
		for _, end := range []struct {
			name string
			do   func() error
		}{
			{"deregistered", func() error { return greets.Deregister(greeter(node("a", addressA))) }},
			{"deleted by hand", func() error { return inner.Deregister(greeter(node("a", addressA))) }},
		} {
			mustRegister(t, greets, greeter(node("a", addressA)))
			o.want(t, "create 1.2.3 a@"+addressA)
			wantBound(t, self, addressA, id.ID())
			if err := end.do(); err != nil {
				t.Fatal(err)
			}
			o.want(t, "delete 1.2.3 a@"+addressA)
			wantBound(t, self, addressA)
			if keys := self.Directory().Keys("greeter"); len(keys) == 0 {
				t.Errorf("%s: the box keys of a service that is away for a moment are gone", end.name)
			}
		}
	})
}

// The backend repairs what somebody deleted by hand.
func TestSameBytesComeBackAfterADelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		self, id := f.issue("reader"), f.issue("greeter")
		reader := wrap(t, inner, self)
		slow, o := observe(t, reader, registry.WatchService("greeter")), observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, id, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		slow.want(t, "create 1.2.3 a@"+addressA)
		was := inner.one(t, "greeter")
		mustDeregister(t, inner, was)
		o.want(t, "delete 1.2.3 a@"+addressA)
		wantBound(t, self, addressA)
		mustRegister(t, inner, was)
		o.want(t, "create 1.2.3 a@"+addressA)
		wantBound(t, self, addressA, id.ID())
		slow.want(t, "delete 1.2.3 a@"+addressA, "create 1.2.3 a@"+addressA)

		// One watcher hears of the deletion when the other has seen the repair.
		inner.watchers[0].push(event("delete", inner.one(t, "greeter")))
		slow.want(t, "delete 1.2.3 a@"+addressA)
		inner.watchers[0].push(event("create", inner.one(t, "greeter")))
		slow.want(t, "create 1.2.3 a@"+addressA)
		o.want(t)
		wantBound(t, self, addressA, id.ID())
		sleep(signed.DefaultValidity)
		o.want(t, "delete 1.2.3 a@"+addressA)
		slow.want(t, "delete 1.2.3 a@"+addressA)
	})
}
