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
			switch rapid.IntRange(0, 2).Draw(t, "what") {
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
			default:
				r.End(c, false)
				if model[c] == Busy {
					model[c] = Unseen
				}
			}
		}
	})
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
	const bytesAPage = 2 * pageBits / 8
	if got := len(r.pages) * bytesAPage; got != 256<<10 {
		t.Errorf("%d bytes", got)
	}
}
