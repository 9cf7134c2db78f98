package encrypted

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// refuseEpochs brings new epochs of a sender that is not let in.
func refuseEpochs(t *testing.T, client, server *engine, n int, now time.Time) {
	t.Helper()
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("not on the list")
	for i := range n {
		newEpoch(client)
		err := new(openedMessage).openOnce(server, sealCall(t, client), scopeCall+"greeter", topic, now, func() error { return refused })
		if !errors.Is(err, refused) {
			t.Fatalf("epoch %d: %v", i, err)
		}
	}
}

// TestRefusedGiveWay: senders that are not let in do not keep the room for epochs from
// those that are, and an epoch of which something was accepted keeps its place.
func TestRefusedGiveWay(t *testing.T) {
	for name, limit := range map[string]func(*inbox){
		"of the sender": func(in *inbox) { in.mostOfSender = 20 },
		"of all":        func(in *inbox) { in.most = 20 },
		"memory":        func(in *inbox) { in.budget = envelope.NewBudget(21, nil) }, // and a page of replay state
	} {
		t.Run(name, func(t *testing.T) {
			client, server := ends(t)
			limit(&server.in)
			now := time.Now()
			first := sealCall(t, client)
			if err := openCall(server, first, now); err != nil {
				t.Fatal(err)
			}
			refuseEpochs(t, client, server, 19, now)
			newEpoch(client)
			let := sealCall(t, client)
			if err := openCall(server, let, now); reasonOf(err) != Limit {
				t.Errorf("there is room for 20 and one more: %v", err)
			}
			if err := openCall(server, let, now.Add(2*time.Second)); err != nil {
				t.Errorf("the room is not free: %v", err)
			}
			if n := len(server.in.epochs); n != 2 {
				t.Errorf("%d epochs are known, want the two of which something was accepted", n)
			}
			if err := openCall(server, first, now.Add(2*time.Second)); reasonOf(err) != Replay {
				t.Errorf("a replay: %v", err)
			}
		})
	}
}

// TestRefusedKeepNoPages: they do not keep it either from an epoch that is known, and needs
// more of the replay window.
func TestRefusedKeepNoPages(t *testing.T) {
	client, server := ends(t)
	server.in.budget = envelope.NewBudget(21, nil)
	now := time.Now()
	if err := openCall(server, sealCall(t, client), now); err != nil {
		t.Fatal(err)
	}
	known := epochOf(t, client)
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	refuseEpochs(t, client, server, 19, now)
	seal := func(at time.Time) []byte {
		data, err := known.Seal(nil, &envelope.Message{Topic: topic, Time: at}, [envelope.RandomSize]byte{}, false)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for known.Left() > epochMessages-4096 { // the rest of the first page
		seal(now)
	}
	if err := openCall(server, seal(now), now); reasonOf(err) != Limit {
		t.Errorf("there is no room for another page: %v", err)
	}
	later := now.Add(2 * time.Second)
	let := seal(later)
	if err := openCall(server, let, later); err != nil {
		t.Errorf("the room is not free: %v", err)
	}
	if err := openCall(server, let, later); reasonOf(err) != Replay {
		t.Errorf("a replay: %v", err)
	}
	// Of a budget that those use up who were let in, nothing is free.
	server.in.budget.Take(18)
	for known.Left() > epochMessages-2*4096 {
		seal(later)
	}
	for i := range 3 {
		at := later.Add(time.Duration(i) * 2 * time.Second)
		if err := openCall(server, seal(at), at); reasonOf(err) != Limit {
			t.Errorf("there is no room at all: %v", err)
		}
	}
}

// TestReplayWindowOfTheLatest: a message that was kept waiting does not have those forgotten
// early that were accepted meanwhile.
func TestReplayWindowOfTheLatest(t *testing.T) {
	client, server := ends(t)
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	meanwhile := now.Add(DefaultMaxAge)
	waits, latest := sealCall(t, client), []byte(nil)
	err = new(openedMessage).openOnce(server, waits, scopeCall+"greeter", topic, now, func() error {
		latest, err = epochOf(t, client).Seal(nil, &envelope.Message{Topic: topic, Time: meanwhile}, [envelope.RandomSize]byte{}, true)
		if err != nil {
			return err
		}
		return openCall(server, latest, meanwhile)
	})
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(DefaultMaxAge + 2*ClockSkew + time.Second)
	server.in.mu.Lock()
	server.in.sweep(later, server.o.maxAge, true)
	server.in.mu.Unlock()
	if err := openCall(server, latest, later); reasonOf(err) != Replay {
		t.Errorf("a replay: %v", err)
	}
}

// TestEpochsTakeMemory: what an epoch keeps is counted, and given back with it.
func TestEpochsTakeMemory(t *testing.T) {
	client, server := ends(t)
	server.in.budget = envelope.NewBudget(2, nil) // one epoch with a card, and its replay state
	now := time.Now()
	for i := range 3 {
		at := now.Add(time.Duration(i) * time.Hour)
		client.out = outbox{}
		if err := openCallSealedAt(t, client, server, at); err != nil {
			t.Fatalf("after %d hours: %v", i, err)
		}
		client.out = outbox{}
		if err := openCallSealedAt(t, client, server, at); reasonOf(err) != Limit {
			t.Errorf("one epoch too many: %v", err)
		}
	}
}

// openCallSealedAt seals a call with a new epoch, both of a moment, and opens it then.
func openCallSealedAt(t *testing.T, client, server *engine, at time.Time) error {
	t.Helper()
	o, err := client.sendCall("greeter")
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.current(o, at)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.epoch.Seal(nil, &envelope.Message{Topic: topic, Time: at, Body: []byte("{}")}, [envelope.RandomSize]byte{}, true)
	if err != nil {
		t.Fatal(err)
	}
	return openCall(server, data, at)
}

// TestKeyWithdrawn: who has stolen a box key of ours can write to us in the name of
// anybody, until we have another: then also epochs that were opened with the old one end,
// whoever vouches for their senders, and whatever becomes of the peer directory.
func TestKeyWithdrawn(t *testing.T) {
	for name, opts := range map[string][]Option{"with cards": nil, "known from the directory": {OmitCard()}} {
		t.Run(name, func(t *testing.T) {
			a, client, _ := fleet(t, opts...)
			issue := func() *identity.Identity {
				id, err := a.Issue("greeter")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = id.Close() })
				return id
			}
			meet := func(who, whom *identity.Identity) {
				card, err := whom.Card()
				if err != nil {
					t.Fatal(err)
				}
				if err := who.AddCard(card); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(t.TempDir(), "greeter")
			if err := issue().Save(dir); err != nil {
				t.Fatal(err)
			}
			greeter, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)), identity.BoxKeyGrace(0))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = greeter.Close() })
			server := newEngine(greeter, opts)
			meet(client.id, greeter)
			meet(greeter, client.id)
			client.o.services = map[string][]string{"greeter": {greeter.ID()}}
			if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
				t.Fatal(err)
			}
			old := sealCall(t, client)

			next := issue()
			changed := make(chan struct{}, 16)
			defer greeter.OnChange(func() { changed <- struct{}{} })()
			if err := next.Save(dir); err != nil {
				t.Fatal(err)
			}
			for !greeter.BoxKeys()[0].Equal(next.BoxKeys()[0]) {
				<-changed
			}
			for range 2 {
				if err := openCall(server, old, time.Now()); reasonOf(err) != NotRecipient {
					t.Errorf("sealed to the old key: %v", err)
				}
				meet(greeter, next) // the directory changes
			}
			meet(client.id, greeter)
			newEpoch(client)
			if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
				t.Errorf("sealed to the new key: %v", err)
			}
		})
	}
}

// TestKeyEnds: a key that was replaced opens what it has opened until its grace ends,
// which nothing tells of.
func TestKeyEnds(t *testing.T) {
	client, server := ends(t)
	now := time.Now()
	if err := openCall(server, sealCall(t, client), now); err != nil {
		t.Fatal(err)
	}
	if err := openCall(server, sealCall(t, client), now); err != nil { // which looks for the first time
		t.Fatal(err)
	}
	for _, r := range server.in.epochs {
		r.reader.Header.KeyIDs = [][]byte{make([]byte, 8)} // as if ours were another by now
	}
	if err := openCall(server, sealCall(t, client), now.Add(verdictFor/2)); err != nil {
		t.Errorf("within a minute of the last look: %v", err)
	}
	if err := openCall(server, sealCall(t, client), now.Add(verdictFor)); reasonOf(err) != NotRecipient {
		t.Errorf("after it: %v", err)
	}
}

// TestEventsKeepTheirPlace: epochs of events that were let in do not give way, though events
// take nothing of the replay window.
func TestEventsKeepTheirPlace(t *testing.T) {
	client, server := ends(t)
	now := time.Now()
	client.o.subscribers = map[string][]string{"orders": {"greeter"}}
	out, err := client.sendEvent("orders")
	if err != nil {
		t.Fatal(err)
	}
	event, err := client.seal(nil, out, topicEvent("json"), []byte("{}"), func(*sending) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	known := func() int {
		server.in.mu.Lock()
		defer server.in.mu.Unlock()
		server.in.swept = time.Time{}
		server.in.sweep(now, server.o.maxAge, true)
		return len(server.in.epochs)
	}
	if err := new(openedMessage).open(server, event.data, scopeEvent, topicEvent("json"), now); err != nil {
		t.Fatal(err)
	}
	if n := known(); n != 0 {
		t.Errorf("%d epochs are known of which nothing was let in", n)
	}
	if _, err := server.openEvent(new(openedMessage), event.data, "json", now); err != nil {
		t.Fatal(err)
	}
	if n := known(); n != 1 {
		t.Errorf("%d epochs are known, want that of the event", n)
	}
}

// TestKeptSpace: what waits for an answer holds no more memory than about twice its size.
func TestKeptSpace(t *testing.T) {
	large, fitting := make([]byte, 100, maxSpace), make([]byte, 100, 200)
	if kept := keepSpace(&large); cap(*kept) > 200 || len(*kept) != 100 {
		t.Errorf("%d bytes are kept in %d", len(*kept), cap(*kept))
	}
	if keepSpace(&fitting) != &fitting {
		t.Error("what fits is copied")
	}
}
