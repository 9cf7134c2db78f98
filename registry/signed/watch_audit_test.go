package signed_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// Under audit watchers tell of what does not verify, and keep it out of the directory.
func TestWatchUnderAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		self := f.issue("reader")
		o := observe(t, wrap(t, inner, self, signed.InsecureAudit("greeter")))
		o.want(t)
		mustRegister(t, inner, greeter(node("plain", addressA)))
		o.want(t, "create 1.2.3 plain@"+addressA)
		mustRegister(t, inner, serviceOf("billing", node("plain", addressA)))
		o.want(t) // another service is not under audit
		wantBound(t, self, addressA)
		sleep(24 * time.Hour)
		o.want(t) // nothing says when it ends
		inner.cut()
		sleep(time.Minute)
		o.want(t) // it is there as before
		mustDeregister(t, inner, greeter(node("plain", addressA)))
		o.want(t, "delete 1.2.3 plain@"+addressA)
	})
}

// Somebody who writes over a signed node does not take its place, audit or not.
func TestAuditPutsNothingInThePlaceOfWhatVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		self, id := f.issue("reader"), f.issue("greeter")
		o := observe(t, wrap(t, inner, self, signed.InsecureAudit()), registry.WatchService("greeter"))
		o.want(t)
		orphan(t, inner, id, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		mustRegister(t, inner, greeter(node("a", addressB)))
		o.want(t)
		wantBound(t, self, addressA, id.ID())
		sleep(signed.DefaultValidity - time.Second)
		o.want(t)
	})
}

// A service that begins to sign is another kind of node, and not another node.
func TestSigningAfterAudit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := newBoard(), newFleet(t)
		self, id := f.issue("reader"), f.issue("greeter")
		o := observe(t, wrap(t, inner, self, signed.InsecureAudit()), registry.WatchService("greeter"))
		o.want(t)
		mustRegister(t, inner, greeter(node("a", addressA)))
		o.want(t, "create 1.2.3 a@"+addressA)
		greets := wrap(t, inner, id)
		mustRegister(t, greets, greeter(node("a", addressA)))
		o.want(t, "update 1.2.3 a@"+addressA)
		wantBound(t, self, addressA, id.ID())
		mustDeregister(t, greets, greeter(node("a", addressA)))
		o.want(t, "delete 1.2.3 a@"+addressA)
	})
}
