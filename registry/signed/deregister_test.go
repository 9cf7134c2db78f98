package signed_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// bare is what go-micro hands to Deregister: no metadata, no endpoints.
func bare(id, address string) *registry.Service {
	return &registry.Service{Name: "greeter", Version: "1.2.3", Nodes: []*registry.Node{{Id: id, Address: address}}}
}

// TestDeregisterWithdraws: the withdrawal is published where what is registered is
// overwritten, and is in the call itself elsewhere. Either way it is newer than the
// record, and lasts as long.
func TestDeregisterWithdraws(t *testing.T) {
	f := newFleet(t)
	for _, test := range []struct {
		name string
		opts []registry.Option
		want []string
	}{
		{"overwriting", nil, []string{"register", "register withdrawn", "deregister withdrawn"}},
		{"recreating", []registry.Option{signed.Recreate()}, []string{"register", "deregister withdrawn"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := newLedger()
			r := f.registry("greeter", inner, test.opts...)
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")), registry.RegisterTTL(time.Minute))
			mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
			calls := inner.wantOps(t, test.want...)
			was := calls[0].read(t)
			for _, c := range calls[1:] {
				if now := c.read(t); now.Sequence <= was.Sequence || now.Expires.Before(was.Expires) {
					t.Errorf("the withdrawal has sequence %d and ends at %v, the record %d and %v", now.Sequence, now.Expires, was.Sequence, was.Expires)
				}
				if c.op == "register" && c.opts.TTL != time.Minute {
					t.Errorf("published with TTL %v, want that of the registration", c.opts.TTL)
				}
			}
		})
	}
}

// TestReplayAfterDeregister: who watches does not take the record back, from anybody;
// a new registration counts.
func TestReplayAfterDeregister(t *testing.T) {
	for _, recreate := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			inner, f := newLedger(), newFleet(t)
			var opts []registry.Option
			if recreate {
				opts = append(opts, signed.Recreate())
				inner.carry = true
			}
			var rejected rejections
			reader := f.registry("reader", inner, append(opts, rejected.hook())...)
			service := f.registry("greeter", inner, opts...)
			observe(t, reader, registry.WatchService("greeter"))
			mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
			old := inner.one(t, "greeter")
			wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
			mustDeregister(t, service, bare("a", "10.0.0.1:8000"))
			synctest.Wait()
			rejected.take()
			mustRegister(t, inner.board, old)
			wantNodes(t, reader, "greeter")
			synctest.Wait() // the watcher may have been the one to refuse it
			rejected.want(t, signed.Replayed)
			mustRegister(t, service, greeter(node("a", "10.0.0.1:8000")))
			wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
		})
	}
}

// TestDeregisterUnregistered: what was not registered here is handed on unsigned.
func TestDeregisterUnregistered(t *testing.T) {
	inner := newLedger()
	r := newFleet(t).registry("greeter", inner)
	mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
	if got := inner.wantOps(t, "deregister unsigned")[0].service.Nodes[0]; got.Id != "a" || got.Address != "10.0.0.1:8000" {
		t.Errorf("got node %+v", got)
	}
	mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
	mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
	inner.wantOps(t, "register", "register withdrawn", "deregister withdrawn", "deregister unsigned")
	for name, s := range map[string]*registry.Service{"nil": nil, "no nodes": greeter(), "nil nodes only": greeter(nil)} {
		if err := r.Deregister(s); !errors.Is(err, signed.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	inner.wantOps(t)
}

// TestDeregisterWithoutWithdrawal: that a withdrawal cannot be made or published does
// not keep a node registered.
func TestDeregisterWithoutWithdrawal(t *testing.T) {
	t.Run("unpublished", func(t *testing.T) {
		inner, log := newLedger(), newTestLogger()
		r := newFleet(t).registry("greeter", inner, registry.Logger(log))
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		inner.intercept(func(c call) error {
			if c.op == "register" {
				return errDown
			}
			return nil
		})
		mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
		if left := inner.copies("greeter"); len(left) > 0 {
			t.Errorf("%d registrations are left", len(left))
		}
		if got := log.logged("without a signed withdrawal"); len(got) != 1 || !strings.Contains(got[0], errDown.Error()) {
			t.Errorf("logged %q", got)
		}
	})
	t.Run("unsigned", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner, f, log := newLedger(), newFleet(t), newTestLogger()
			r := wrap(t, inner, f.issue("greeter", identity.ValidFor(time.Hour)), registry.Logger(log))
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")), registry.RegisterTTL(time.Minute))
			inner.take()
			time.Sleep(2 * time.Hour)
			mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
			inner.wantOps(t, "deregister")
			if got := log.logged("without a signed withdrawal"); len(got) != 1 {
				t.Errorf("logged %q", got)
			}
		})
	})
}

// TestDeregisterFails: the node is not renewed any more, and Deregister can be
// repeated, withdrawal and all; Register is no replay.
func TestDeregisterFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newLedger()
		r := newFleet(t).registry("greeter", inner)
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		inner.intercept(func(c call) error {
			if c.op == "deregister" {
				return errDown
			}
			return nil
		})
		if err := r.Deregister(bare("a", "10.0.0.1:8000")); !errors.Is(err, errDown) {
			t.Errorf("got %v, want the inner error", err)
		}
		time.Sleep(2 * signed.DefaultValidity)
		inner.intercept(nil)
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		mustDeregister(t, r, bare("a", "10.0.0.1:8000"))
		calls := inner.wantOps(t, "register", "register withdrawn", "deregister withdrawn", "register", "register withdrawn", "deregister withdrawn")
		if withdrawn, again := calls[1].read(t).Sequence, calls[3].read(t).Sequence; again <= withdrawn {
			t.Errorf("sequence %d after the withdrawal of %d", again, withdrawn)
		}
	})
}

// TestHangingInnerHoldsUpOneNode: calls for a node that the inner registry does not
// answer hold up no other node, and those for the same one give up in time.
func TestHangingInnerHoldsUpOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newLedger()
		r := newFleet(t).registry("greeter", inner)
		mustRegister(t, r, greeter(node("b", "10.0.0.2:8000")))
		hang := make(chan struct{})
		inner.intercept(func(c call) error {
			if c.service.Nodes[0].Id == "a" {
				<-hang
			}
			return nil
		})
		registered := make(chan error, 1)
		go func() { registered <- r.Register(greeter(node("a", "10.0.0.1:8000"))) }()
		synctest.Wait()
		began := time.Now()
		mustDeregister(t, r, bare("b", "10.0.0.2:8000"))
		if took := time.Since(began); took > 0 {
			t.Errorf("Deregister of another node took %v", took)
		}
		if err := r.Deregister(bare("a", "10.0.0.1:8000")); err == nil || !strings.Contains(err.Error(), "look at the registry") {
			t.Errorf("Deregister of the same node: got %v, want an error with the remedy", err)
		}
		close(hang)
		if err := <-registered; err != nil {
			t.Error(err)
		}
		inner.intercept(nil)
		inner.take()
		time.Sleep(2 * signed.DefaultValidity)
		inner.wantOps(t) // Deregister was called, so nothing is renewed
	})
}
