package signed_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// TestRenewal: a node that was registered once stays so, in the same bytes until half
// of the validity, and then in others, with the options it was registered with.
func TestRenewal(t *testing.T) {
	for _, test := range []struct {
		name     string
		opts     []registry.Option
		validity time.Duration
		want     []string
	}{
		{"overwriting", nil, signed.DefaultValidity, []string{"register", "register"}},
		{"recreating", []registry.Option{signed.Recreate()}, signed.DefaultRecreateValidity, []string{"register", "deregister", "register"}},
		{"of a validity", []registry.Option{signed.Validity(10 * time.Second)}, 10 * time.Second, []string{"register", "register"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, f := newLedger(), newFleet(t)
				inner.keeps = len(test.want) == 3
				r, reader := f.registry("greeter", inner, test.opts...), f.registry("reader", inner)
				mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")), registry.RegisterTTL(24*time.Hour))
				time.Sleep(test.validity * 39 / 100)
				if n := len(inner.copies("greeter")); n != 1 {
					t.Fatalf("%d registrations", n)
				}
				first := inner.one(t, "greeter")
				time.Sleep(test.validity * 22 / 100)
				calls := inner.wantOps(t, test.want...)
				last := calls[len(calls)-1]
				if textOf(calls[0].service) != textOf(first) {
					t.Error("it was signed anew before it was time")
				}
				if was, now := calls[0].read(t), last.read(t); now.Sequence <= was.Sequence || !now.Expires.After(was.Expires) {
					t.Errorf("got sequence %d until %v after %d until %v", now.Sequence, now.Expires, was.Sequence, was.Expires)
				}
				if last.opts.TTL != 24*time.Hour {
					t.Errorf("TTL %v, want that of Register", last.opts.TTL)
				}
				for range 20 {
					time.Sleep(test.validity / 3)
					wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
				}
			})
		})
	}
}

// TestRenewalIsSpread: what was started at once does not sign at once.
func TestRenewalIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newLedger(), newFleet(t)
		times := make(map[time.Time]bool)
		r := f.registry("greeter", inner)
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			mustRegister(t, r, greeter(node(id, "10.0.0.1:8000")))
		}
		synctest.Wait()
		inner.intercept(func(c call) error {
			times[time.Now()] = true
			return nil
		})
		time.Sleep(signed.DefaultValidity * 61 / 100)
		synctest.Wait()
		if len(times) < 2 {
			t.Errorf("8 nodes were renewed at %d times", len(times))
		}
	})
}

// TestNoRenewalWithoutRegister: a service that does not call Register any more is not
// kept alive. Once it calls again, it is.
func TestNoRenewalWithoutRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, log := newLedger(), newTestLogger()
		r := newFleet(t).registry("greeter", inner, registry.Logger(log))
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")), registry.RegisterTTL(90*time.Second))
		time.Sleep(12 * time.Hour)
		inner.wantOps(t, "register")
		if got := log.logged("within its TTL"); len(got) != 1 {
			t.Errorf("logged %q", got)
		}
		var sequences []uint64
		for range 100 {
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")), registry.RegisterTTL(90*time.Second))
			time.Sleep(30 * time.Second)
		}
		for _, c := range inner.take() {
			if now := c.read(t); len(sequences) == 0 || sequences[len(sequences)-1] != now.Sequence {
				sequences = append(sequences, now.Sequence)
			}
		}
		if n := len(sequences); n < 8 || n > 14 {
			t.Errorf("%d records in 50 minutes, want one in 4 to 6", n)
		}
	})
}

// TestRenewalIsTriedAgain: a backend that is down for less than the rest of the
// validity costs nothing.
func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f, log := newLedger(), newFleet(t), newTestLogger()
		r, reader := f.registry("greeter", inner, registry.Logger(log)), f.registry("reader", inner)
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		inner.intercept(func(call) error { return errDown })
		time.Sleep(9 * time.Minute)
		if got := log.logged("the next try is in"); len(got) == 0 || len(got) > 20 {
			t.Errorf("%d failures logged", len(got))
		}
		inner.intercept(nil)
		for range 20 {
			time.Sleep(time.Minute)
			wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
		}
	})
}

// TestRenewalRepeatsWhatWasAccepted: a Register that failed is for its caller to
// repeat, not for the renewal.
func TestRenewalRepeatsWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newLedger()
		r := newFleet(t).registry("greeter", inner)
		inner.intercept(func(call) error { return errDown })
		if err := r.Register(greeter(node("b", "10.0.0.2:8000"))); !errors.Is(err, errDown) {
			t.Fatalf("got %v, want the inner error", err)
		}
		inner.intercept(nil)
		mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
		inner.intercept(func(call) error { return errDown })
		if err := r.Register(greeter(node("a", "10.0.0.9:8000"))); !errors.Is(err, errDown) {
			t.Fatalf("got %v, want the inner error", err)
		}
		inner.intercept(nil)
		inner.take()
		time.Sleep(signed.DefaultValidity * 61 / 100)
		if n := inner.wantOps(t, "register")[0].service.Nodes[0]; n.Id != "a" || n.Address != "10.0.0.1:8000" {
			t.Errorf("renewed %s at %s", n.Id, n.Address)
		}
	})
}

// TestNoRenewalAfterTheEnd: nothing is registered after Deregister or Close, not even
// by a renewal that was under way.
func TestNoRenewalAfterTheEnd(t *testing.T) {
	t.Run("Deregister", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner, f := newLedger(), newFleet(t)
			r := f.registry("greeter", inner)
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
			resume := holdRenewal(inner)
			time.Sleep(signed.DefaultValidity * 61 / 100)
			done := make(chan error, 1)
			go func() { done <- r.Deregister(bare("a", "10.0.0.1:8000")) }()
			synctest.Wait()
			close(resume)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * signed.DefaultValidity)
			inner.wantOps(t, "register", "register", "register withdrawn", "deregister withdrawn")
			if left := inner.copies("greeter"); len(left) > 0 {
				t.Errorf("%d registrations are left", len(left))
			}
		})
	})
	t.Run("Close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner, f := newLedger(), newFleet(t)
			r := f.registry("greeter", inner)
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
			resume := holdRenewal(inner)
			time.Sleep(signed.DefaultValidity * 61 / 100)
			var closed atomic.Bool
			done := make(chan error, 1)
			go func() { done <- r.(io.Closer).Close(); closed.Store(true) }()
			synctest.Wait()
			if closed.Load() {
				t.Error("Close did not wait for the renewal that was under way")
			}
			close(resume)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * signed.DefaultValidity)
			inner.wantOps(t, "register", "register")
			if err := r.Register(greeter(node("a", "10.0.0.1:8000"))); !errors.Is(err, signed.ErrClosed) {
				t.Errorf("Register: got %v, want ErrClosed", err)
			}
		})
	})
	t.Run("Close and a registry that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner, f := newLedger(), newFleet(t)
			r := f.registry("greeter", inner)
			mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
			resume := holdRenewal(inner)
			defer close(resume)
			time.Sleep(signed.DefaultValidity * 61 / 100)
			began := time.Now()
			closeRegistry(t, r)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("Close took %v", took)
			}
		})
	})
}

// holdRenewal has the next call of the inner registry wait until resume is closed.
func holdRenewal(inner *ledger) (resume chan struct{}) {
	resume = make(chan struct{})
	inner.intercept(func(call) error {
		<-resume
		return nil
	})
	return resume
}

// TestRotation: a new leaf and box key are in the registry at once, without a Register,
// and whoever looks meanwhile finds the node all the time.
func TestRotation(t *testing.T) {
	inner, f := newLedger(), newFleet(t)
	dir := t.TempDir()
	was := f.issue("greeter")
	if err := was.Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	var rejected rejections
	r, reader := wrap(t, inner, id), f.registry("reader", inner, rejected.hook())
	mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	first := inner.wantOps(t, "register")[0].read(t)
	if err := f.issue("greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	var now signed.Reading
	eventually(t, "a record of the new leaf", func() bool {
		wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
		if now, err = signed.Read(inner.one(t, "greeter").Nodes[0]); err != nil {
			t.Fatal(err)
		}
		return now.Leaf != first.Leaf && now.BoxKeys[0] != first.BoxKeys[0]
	})
	wantNodes(t, reader, "greeter", "a@10.0.0.1:8000")
	rejected.want(t)
	if len(now.BoxKeys) != 1 || now.BoxKeys[0] != string(id.BoxKeys()[0].PublicKey().Bytes()) {
		t.Error("the record does not hold the new box key, and it alone")
	}
	mustRegister(t, r, greeter(node("a", "10.0.0.1:8000")))
	if again := inner.take(); again[len(again)-1].read(t).Sequence != now.Sequence {
		t.Error("Register signed anew what the renewal had signed")
	}
}

// TestChangeOfTrustAlone: the revocation of another is nothing to sign.
func TestChangeOfTrustAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newLedger(), newFleet(t)
		mustRegister(t, f.registry("greeter", inner), greeter(node("a", "10.0.0.1:8000")))
		f.revoke(f.issue("stranger"))
		time.Sleep(time.Minute)
		inner.wantOps(t, "register")
	})
}
