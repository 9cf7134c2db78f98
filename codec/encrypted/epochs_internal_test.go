package encrypted

import (
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

// TestEpochOutlastsOtherChanges: what becomes of others in the directory makes no epoch
// anew; what becomes of the recipients does.
func TestEpochOutlastsOtherChanges(t *testing.T) {
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(service string) *identity.Identity {
		id, err := a.Issue(service)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { id.Close() })
		return id
	}
	web, greeter, other := issue("web"), issue("greeter"), issue("other")
	e := newEngine(web, nil)
	add := func(id *identity.Identity, until time.Duration) {
		t.Helper()
		if err := web.Directory().AddKeys(id.ID(), id.BoxKeys()[0].PublicKey().Bytes(), time.Now().Add(until)); err != nil {
			t.Fatal(err)
		}
	}
	epoch := func() *made {
		t.Helper()
		o, err := e.sendCall("greeter")
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.current(o, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return s.made
	}
	add(greeter, time.Hour)
	first := epoch()
	for i := range 5 {
		add(other, time.Duration(i+1)*time.Hour)
		if err := web.Directory().Bind("127.0.0.1:80", other.ID(), time.Now().Add(time.Duration(i+1)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		add(greeter, time.Duration(i+2)*time.Hour) // its registration is renewed
		if epoch() != first {
			t.Error("a change that does not matter has made another epoch")
		}
	}
	add(issue("greeter"), time.Hour)
	second := epoch()
	if second == first {
		t.Error("a replica with a key of its own reads nothing")
	}
	web.Directory().RemoveKey(greeter.ID(), greeter.BoxKeys()[0].PublicKey().Bytes())
	if epoch() == second {
		t.Error("a key that is gone is still sealed to")
	}
}

// TestNoPublicKeyOperation: once a service has opened an epoch, calls of it need nothing of
// what new epochs need, and the client makes no other.
func TestNoPublicKeyOperation(t *testing.T) {
	client, server := ends(t)
	if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
		t.Fatal(err)
	}
	first := client.out.calls["greeter"].now.Load().made
	spendAllBut(server, 0, client.id.ID())
	for range 20 {
		if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if client.out.calls["greeter"].now.Load().made != first {
		t.Error("the client has made another epoch")
	}
	newEpoch(client)
	client.out.calls["greeter"].now.Store(nil)
	if err := openCall(server, sealCall(t, client), time.Now()); reasonOf(err) != Limit {
		t.Errorf("a new epoch, when no more are opened: %v", err)
	}
}
