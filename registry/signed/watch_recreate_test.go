package signed_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// Where a new record takes a Deregister, nobody hears of a deletion.
func TestNewRecordIsNoDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newKeeper(), newFleet(t)
		reader := f.registry("reader", inner, signed.Recreate())
		mustRegister(t, f.registry("greeter", inner, signed.Recreate()), greeter(node("a", addressA)))
		o := observe(t, reader, registry.WatchService("greeter"))
		synctest.Wait()
		sleep(3 * signed.DefaultRecreateValidity)
		got := o.take()
		if len(got) < 3 {
			t.Errorf("told %d times, want of several records", len(got))
		}
		for _, what := range got {
			if what != "update 1.2.3 a@"+addressA {
				t.Errorf("told %q", what)
			}
		}
		wantNodes(t, reader, "greeter", "a@"+addressA)
	})
}

// counting is a keeper that counts how often it is asked.
type counting struct {
	keeper
	asked atomic.Int64
}

func (c *counting) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	c.asked.Add(1)
	return c.keeper.GetService(name, opts...)
}

// A signed withdrawal needs no confirmation.
func TestWithdrawalIsBelievedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := &counting{keeper: newKeeper()}, newFleet(t)
		greets := f.registry("greeter", inner, signed.Recreate())
		mustRegister(t, greets, greeter(node("a", addressA)))
		o := observe(t, f.registry("reader", inner, signed.Recreate()), registry.WatchService("greeter"))
		o.want(t)
		asked := inner.asked.Load()
		mustDeregister(t, greets, greeter(node("a", addressA)))
		o.want(t, "delete 1.2.3 a@"+addressA)
		sleep(settle)
		if n := inner.asked.Load() - asked; n > 0 {
			t.Errorf("the registry was asked %d times", n)
		}
	})
}

// The events of go-micro's memory registry arrive in no order, and a deletion is
// believed if the registry says so when it is asked.
func TestDeletionIsConfirmed(t *testing.T) {
	type env struct {
		inner    *board
		old, new *registry.Service
	}
	tests := []struct {
		name string
		do   func(t *testing.T, e env)
		want []string
	}{
		{"delete, then update", func(t *testing.T, e env) {
			e.inner.push(event("delete", e.old), event("update", e.new))
			e.inner.lose("greeter", "a")
			mustRegister(t, quietly(e.inner), e.new)
		}, []string{"update 1.2.3 a@" + addressB}},
		{"update, then delete", func(t *testing.T, e env) {
			e.inner.lose("greeter", "a")
			mustRegister(t, quietly(e.inner), e.new)
			e.inner.push(event("update", e.new), event("delete", e.old))
		}, []string{"update 1.2.3 a@" + addressB}},
		{"delete, and the update is lost", func(t *testing.T, e env) {
			e.inner.lose("greeter", "a")
			mustRegister(t, quietly(e.inner), e.new)
			e.inner.push(event("delete", e.old))
		}, []string{"update 1.2.3 a@" + addressB}},
		{"delete, and it is there as it was", func(_ *testing.T, e env) {
			e.inner.push(event("delete", e.old))
		}, nil},
		{"delete, a while before it is there again", func(t *testing.T, e env) {
			e.inner.lose("greeter", "a")
			e.inner.push(event("delete", e.old))
			sleep(100 * time.Millisecond)
			mustRegister(t, quietly(e.inner), e.new)
		}, []string{"update 1.2.3 a@" + addressB}},
		{"delete, and it is gone", func(_ *testing.T, e env) {
			e.inner.lose("greeter", "a")
			e.inner.push(event("delete", e.old))
		}, []string{"delete 1.2.3 a@" + addressA}},
		{"delete, and somebody else is there", func(t *testing.T, e env) {
			e.inner.lose("greeter", "a")
			mustRegister(t, quietly(e.inner), greeter(node("a", addressB)))
			e.inner.push(event("delete", e.old))
		}, []string{"delete 1.2.3 a@" + addressA}},
		{"delete and create, in the wrong order, of another", func(_ *testing.T, e env) {
			other := *e.new
			e.inner.lose("greeter", "a")
			e.inner.push(event("delete", e.old), event("update", &other))
		}, []string{"update 1.2.3 a@" + addressB, "delete 1.2.3 a@" + addressB}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newBoard(), newFleet(t)
				id := f.issue("greeter")
				reader := f.registry("reader", inner, signed.Recreate())
				orphan(t, inner, id, greeter(node("a", addressA)))
				o := observe(t, reader, registry.WatchService("greeter"))
				o.want(t)
				sleep(time.Second)
				later := newBoard()
				orphan(t, later, id, greeter(node("a", addressB)))
				tt.do(t, env{inner, inner.one(t, "greeter"), later.one(t, "greeter")})
				sleep(2 * settle)
				o.want(t, tt.want...)
			})
		})
	}
}

// quietly registers without telling watchers.
func quietly(b *board) registry.Registry { return hushed{b} }

type hushed struct{ *board }

func (h hushed) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	apart := newBoard()
	if err := apart.Register(s, opts...); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, apart.records...)
	return nil
}

// A comparison may look at the registry between the two halves of a new record.
func TestAbsenceIsConfirmedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		o := observe(t, f.registry("reader", inner, signed.Recreate()), registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, f.issue("greeter"), greeter(node("a", addressA), node("b", addressB)))
		synctest.Wait()
		o.take()
		both := inner.copies("greeter")
		inner.lose("greeter", "a")
		inner.lose("greeter", "b")
		inner.cut()
		time.Sleep(150 * time.Millisecond) // it has watched again, and not found them
		synctest.Wait()
		mustRegister(t, quietly(inner), both[0])
		o.want(t)
		sleep(settle)
		o.want(t, "delete 1.2.3 b@"+addressB)
	})
}

// mdnsLike names itself so that the registry takes it for one whose answers may lack
// what is there.
type mdnsLike struct{ *board }

func (mdnsLike) String() string { return "mdns" }

func TestAbsenceFromAnMDNSAnswerSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		o := observe(t, f.registry("reader", mdnsLike{inner}), registry.WatchService("greeter"))
		synctest.Wait()
		orphan(t, inner, f.issue("greeter", identity.Ed25519()), greeter(node("a", addressA)))
		synctest.Wait()
		o.take()
		held := inner.one(t, "greeter")
		inner.lose("greeter", "a")
		inner.cut()
		sleep(time.Minute)
		o.want(t)

		inner.push(event("delete", held), event("create", held))
		sleep(time.Minute)
		if got := o.take(); slices.Contains(got, "delete 1.2.3 a@"+addressA) {
			t.Errorf("told %q of a node that has announced itself again", got)
		}
		inner.push(event("delete", held))
		sleep(time.Minute)
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}

// Over go-micro's own memory registry, whose events are out of order for good.
func TestRotationOverMemoryIsNoDeletion(t *testing.T) {
	inner, f := newMemory(), newFleet(t)
	greets, reader := f.registry("greeter", inner), f.registry("reader", inner)
	o := observe(t, reader, registry.WatchService("greeter"))
	address := func(i int) string { return []string{addressA, addressB}[i%2] }
	for i := range 20 {
		mustRegister(t, greets, greeter(node("a", address(i)), node("b", address(i))))
	}
	last := address(19)
	known := map[string]string{}
	eventually(t, "both nodes at their last address", func() bool {
		for _, r := range o.results() {
			for _, n := range r.Service.Nodes {
				if r.Action == "delete" {
					t.Errorf("told %q", told(r))
				}
				known[n.Id] = n.Address
			}
		}
		return known["a"] == last && known["b"] == last
	})
}
