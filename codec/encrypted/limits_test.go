package encrypted

import (
	"math"
	"testing"
	"time"
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
