package envelope

import (
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// TestReplayModel: it behaves as a plain map of states does.
func TestReplayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Replay
		model := make(map[uint32]State)
		counters := rapid.OneOf(rapid.Uint32Range(0, 130), rapid.Uint32Range(MaxMessages-100, MaxMessages-1))
		for range 200 {
			c := counters.Draw(t, "counter")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if got := r.Begin(c); got != model[c] {
					t.Fatalf("Begin(%d) is %v, want %v", c, got, model[c])
				}
				if model[c] == Unseen {
					model[c] = Busy
				}
			case 1:
				r.End(c, true)
				if model[c] == Busy {
					model[c] = Done
				}
			case 2:
				r.Handled(c)
				model[c] = Done
			default:
				r.End(c, false)
				if model[c] == Busy {
					model[c] = Unseen
				}
			}
		}
	})
}

// TestReplayWhole: an epoch that was handled as a whole takes nothing, and none of its
// messages is handled again.
func TestReplayWhole(t *testing.T) {
	b := NewBudget(1, nil)
	r := NewReplay(b)
	for c := range uint32(MaxMessages) {
		if got := r.Begin(c); got != Unseen {
			t.Fatalf("message %d is %v", c, got)
		}
		r.End(c, true)
	}
	if len(r.pages) != 0 {
		t.Errorf("%d pages", len(r.pages))
	}
	for c := range uint32(MaxMessages) {
		if got := r.Begin(c); got != Done {
			t.Fatalf("again, message %d is %v", c, got)
		}
	}
}

// TestReplayBudget: what there is no room for is not handled, as it could not be told
// when it comes again.
func TestReplayBudget(t *testing.T) {
	b := NewBudget(2, nil)
	one, two := NewReplay(NewBudget(10, b)), NewReplay(NewBudget(10, b))
	for _, c := range []uint32{0, pageBits} {
		if got := one.Begin(c); got != Unseen {
			t.Errorf("message %d is %v", c, got)
		}
	}
	if got := two.Begin(5); got != NoRoom {
		t.Errorf("over the budget: %v", got)
	}
	if got := one.Begin(1); got != Unseen {
		t.Errorf("in a page that is there: %v", got)
	}
	one.Release()
	for _, c := range []uint32{5, pageBits} {
		if got := two.Begin(c); got != Unseen {
			t.Errorf("message %d after the release is %v", c, got)
		}
	}
	if got := two.Begin(2 * pageBits); got != NoRoom {
		t.Errorf("over the budget again: %v", got)
	}
	small := NewReplay(NewBudget(1, NewBudget(10, nil)))
	if first, second := small.Begin(0), small.Begin(pageBits); first != Unseen || second != NoRoom {
		t.Errorf("a budget of one page: %v, %v", first, second)
	}
}

// TestReplayOnce: of many who begin at once, one handles the message.
func TestReplayOnce(t *testing.T) {
	var r Replay
	var handled atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for c := range uint32(10000) {
				if r.Begin(c) == Unseen {
					handled.Add(1)
					r.End(c, true)
				}
			}
		})
	}
	wg.Wait()
	if handled.Load() != 10000 {
		t.Errorf("%d messages of 10000 were handled", handled.Load())
	}
}

// TestReplayMemory: an epoch takes 256 KiB at most, whatever the order.
func TestReplayMemory(t *testing.T) {
	var r Replay
	for c := uint32(0); c < MaxMessages; c += 64 {
		r.Begin(MaxMessages - 1 - c)
	}
	if got := len(r.pages) * PageSize; got != 256<<10 {
		t.Errorf("%d bytes", got)
	}
}

// TestReplayReleased: a message that is at work when its epoch is forgotten takes no
// page that nobody would give back.
func TestReplayReleased(t *testing.T) {
	b := NewBudget(1, nil)
	r := NewReplay(b)
	if got := r.Begin(0); got != Unseen {
		t.Fatal(got)
	}
	r.Release()
	r.Handled(0)
	r.End(0, true)
	if got := r.Begin(1); got != NoRoom {
		t.Errorf("a message after the release is %v", got)
	}
	r.Release()
	if got := NewReplay(b).Begin(0); got != Unseen {
		t.Errorf("the page was not given back: %v", got)
	}
}

// TestBudgetOfOthers: who asks for more than is left does not keep from others what is.
func TestBudgetOfOthers(t *testing.T) {
	b := NewBudget(1, nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if b.Take(2) {
				t.Error("took more than there is")
			}
		}
	})
	for i := range 100000 {
		if !b.Take(1) {
			t.Errorf("attempt %d: there is no room for one", i)
			break
		}
		b.Give(1)
	}
	close(done)
	wg.Wait()
}
