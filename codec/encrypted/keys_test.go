package encrypted_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v4/client"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// load saves an identity and follows its files. reload puts another in their place and
// returns when that is in force.
func load(t *testing.T, id *identity.Identity, opts ...identity.LoadOption) (loaded *identity.Identity, reload func(*identity.Identity)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "identity")
	must(t, id.Save(dir))
	events := make(chan identity.Event, 1000)
	loaded, err := identity.Load(dir, append(opts, identity.Logger(slog.New(slog.DiscardHandler)),
		identity.RereadEvery(50*time.Millisecond), identity.OnEvent(func(e identity.Event) { events <- e }))...)
	must(t, err)
	t.Cleanup(func() { _ = loaded.Close() })
	return loaded, func(next *identity.Identity) {
		t.Helper()
		must(t, next.Save(dir))
		timeout := time.After(patience)
		for !loaded.BoxKeys()[0].Equal(next.BoxKeys()[0]) || loaded.Peer().Certificate.SerialNumber.Cmp(next.Peer().Certificate.SerialNumber) != 0 {
			select {
			case <-events:
			case <-timeout:
				t.Fatal("the identity was not reloaded")
			}
		}
	}
}

// TestRotation: box keys of both sides are replaced in the middle of a stream and of a
// call, and nothing is lost.
func TestRotation(t *testing.T) {
	a := authority(t)
	greeter, rotateGreeter := load(t, issue(t, a, "greeter"))
	web, rotateWeb := load(t, issue(t, a, "web"))
	s, c := serve(t, greeter), newCaller(t, web)
	meet(t, web, greeter)
	p := newProxy(t, s.address)
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", nil), client.WithAddress(s.address))
	must(t, err)
	defer stream.Close()
	ask := func(name string) {
		t.Helper()
		must(t, stream.Send(&Request{name}))
		var rsp Response
		if err := stream.Recv(&rsp); err != nil || rsp.Greeting != "Hello "+name {
			t.Fatalf("%s: %q, error: %v", name, rsp.Greeting, err)
		}
	}
	for i := range 3 {
		ask(fmt.Sprint("before ", i))
		rotateGreeter(issue(t, a, "greeter"))
		ask(fmt.Sprint("after the service's ", i))
		c.works(t, s.address) // with the old key of the service: it is kept for a while
		meet(t, web, greeter)
		ask(fmt.Sprint("with both keys ", i))
		c.works(t, s.address)
		rotateWeb(issue(t, a, "web"))
		ask(fmt.Sprint("after the client's ", i))
		c.works(t, p.address)
		env, err := envelope.Parse(p.last().body)
		must(t, err)
		h, err := envelope.ParseHeader(env.Header)
		must(t, err)
		if !bytes.Equal(h.SenderKey, web.BoxKeys()[0].PublicKey().Bytes()) {
			t.Error("the client seals with its old key")
		}
	}
	if got := append(s.rejected.take(), c.rejected.take()...); len(got) > 0 {
		t.Errorf("refused: %v", got)
	}
}

// TestKeyGone: what is sealed to a key that the service has no more is refused, also from
// whom it knows, until the callers learn of the new one.
func TestKeyGone(t *testing.T) {
	a := authority(t)
	greeter, rotate := load(t, issue(t, a, "greeter"), identity.BoxKeyGrace(0))
	s := serve(t, greeter)
	known, late := newCaller(t, issue(t, a, "web")), newCaller(t, issue(t, a, "late"))
	meet(t, known.id, greeter)
	meet(t, late.id, greeter)
	known.works(t, s.address)
	rotate(issue(t, a, "greeter"))
	for _, c := range []*caller{known, late} {
		if _, err := c.hello(t.Context(), s.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
			t.Errorf("a call sealed to a key that is gone: %v", err)
		}
		for _, got := range s.rejected.take() { // known leaves its epoch out, and sends again with it
			if got != encrypted.NotRecipient {
				t.Errorf("the service was told %v", got)
			}
		}
		meet(t, c.id, greeter)
		c.works(t, s.address)
	}
}

// TestReplicas: services of one name with a key each, one of them added later, one of
// them gone.
func TestReplicas(t *testing.T) {
	a := authority(t)
	c := newCaller(t, issue(t, a, "web"))
	var replicas []*service
	add := func() *service {
		s := serve(t, issue(t, a, "greeter"))
		meet(t, c.id, s.id)
		replicas = append(replicas, s)
		return s
	}
	for range 5 {
		add()
		for _, s := range replicas {
			c.works(t, s.address)
		}
	}
	gone := replicas[0]
	c.id.Directory().RemoveKey(gone.id.ID(), gone.id.BoxKeys()[0].PublicKey().Bytes())
	if _, err := c.hello(t.Context(), gone.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("a replica whose key is withdrawn: %v", err)
	}
	if got := gone.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.NotRecipient}) {
		t.Errorf("it was told %v", got)
	}
	for _, s := range replicas[1:] {
		c.works(t, s.address)
	}
	t.Run("an answer of another replica's call", func(t *testing.T) {
		// They share the epoch, and have salts of their own.
		p := newProxy(t, replicas[1].address)
		var recorded *message
		p.does(nil, change(func(m *message) { recorded = m.clone() }))
		c.works(t, p.address)
		q := newProxy(t, replicas[2].address)
		q.does(nil, change(func(m *message) { m.body = recorded.body }))
		if _, err := c.hello(t.Context(), q.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
			t.Errorf("error: %v", err)
		}
	})
}

// TestSharedKey: replicas with one box key, as pods with one secret have it.
func TestSharedKey(t *testing.T) {
	a := authority(t)
	id := issue(t, a, "greeter")
	dir := filepath.Join(t.TempDir(), "identity")
	must(t, id.Save(dir))
	c := newCaller(t, issue(t, a, "web"))
	for range 3 {
		replica, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)))
		must(t, err)
		t.Cleanup(func() { _ = replica.Close() })
		s := serve(t, replica)
		meet(t, c.id, replica)
		for range 3 {
			c.works(t, s.address)
		}
	}
}

// TestServiceOption: a service whose name is not its ID's is found by Service, or by its
// ID.
func TestServiceOption(t *testing.T) {
	a := authority(t)
	s := serve(t, issue(t, a, "greeter/eu", identity.DNSNames("greeter")))
	plain, named := newCaller(t, issue(t, a, "web")), newCaller(t, issue(t, a, "shop"), encrypted.Service("greeter", "spiffe://shop.internal/greeter/eu"))
	meet(t, plain.id, s.id)
	meet(t, named.id, s.id)
	if _, err := plain.hello(t.Context(), s.address, "John"); !errors.Is(err, encrypted.ErrNoKeys) {
		t.Errorf("by a name that says nothing of its ID: %v", err)
	}
	named.works(t, s.address)
	var rsp Response
	req := plain.NewRequest(s.id.ID(), "Greeter.Hello", &Request{"John"})
	if err := plain.Call(t.Context(), req, &rsp, client.WithAddress(s.address)); err != nil || rsp.Greeting != "Hello John" {
		t.Errorf("by its ID: %q, error: %v", rsp.Greeting, err)
	}
}
