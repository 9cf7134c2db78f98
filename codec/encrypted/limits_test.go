package encrypted

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/codec/json"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/effort"
	"github.com/go-signet/signet/internal/envelope"
)

// TestLongestAge: the longest age there is does not make the replay window forget at once.
func TestLongestAge(t *testing.T) {
	client, server := ends(t, MaxAge(math.MaxInt64), EventAge(math.MaxInt64))
	request, now := sealCall(t, client), time.Now()
	if err := openCall(server, request, now); err != nil {
		t.Fatal(err)
	}
	later := now.Add(10 * time.Minute)
	server.in.mu.Lock()
	server.in.sweep(later, server.o.maxAge, true)
	server.in.mu.Unlock()
	if err := openCall(server, request, later); reasonOf(err) != Replay {
		t.Errorf("a replay: %v", err)
	}
}

// TestNotAddressed: an epoch that is for others takes none of the room that new epochs
// have.
func TestNotAddressed(t *testing.T) {
	client, server := ends(t)
	other, _ := ends(t) // whose keys are not the server's
	if client.id.ID() != other.id.ID() {
		t.Fatal("they are two senders")
	}
	spendAllBut(server, effort.Junk, client.id.ID())
	for range 3 {
		newEpoch(other)
		if err := openCall(server, sealCall(t, other), time.Now()); reasonOf(err) != NotRecipient {
			t.Fatalf("an epoch for others: %v", err)
		}
	}
	if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
		t.Errorf("the good one after them: %v", err)
	}
}

// TestNamesWithoutKeys: names that nobody has the keys of leave nothing behind.
func TestNamesWithoutKeys(t *testing.T) {
	client, _ := ends(t)
	for i := range 10 {
		o, err := client.sendCall(fmt.Sprint("nobody-", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.seal(nil, o, "topic", nil, nil); err == nil {
			t.Fatal("sealed to nobody")
		}
	}
	if n := len(client.out.calls); n != 0 {
		t.Errorf("%d names are kept", n)
	}
	sealCall(t, client)
	if n := len(client.out.calls); n != 1 {
		t.Errorf("%d names are kept after a call", n)
	}
}

// TestRefusedTakesNoRoom: a member that is not let in takes nothing of the replay window,
// which all share.
func TestRefusedTakesNoRoom(t *testing.T) {
	var told []Reason
	client, server := ends(t, OnReject(func(j Rejection) { told = append(told, j.Reason) }),
		Authorize(func(identity.Peer, string) error { return errors.New("not on the list") }))
	for range 2 {
		var w wire
		c := server.newCodec(json.NewCodec)(&w)
		if err := c.ReadHeader(call(sealCall(t, client)), codec.Request); err == nil {
			t.Fatal("it is let in")
		}
		if err := c.Write(&codec.Message{Type: codec.Error, Error: "refused"}, nil); err != nil || w.out.Len() == 0 {
			t.Errorf("the refusal is not sealed, error: %v", err)
		}
		for _, r := range server.in.epochs {
			r.replay = envelope.NewReplay(envelope.NewBudget(0, nil))
		}
	}
	if !slices.Equal(told, []Reason{Unauthorised, Unauthorised}) {
		t.Errorf("the service was told %v", told)
	}
}
