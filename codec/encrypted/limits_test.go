package encrypted

import (
	"fmt"
	"math"
	"testing"
	"time"

	"golang.org/x/time/rate"
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
	server.in.sweep(later, server.o.maxAge)
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
	server.in.limit = rate.NewLimiter(0, 1)
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
