package sealed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/broker"
)

// epochOf is an epoch of somebody's, as one that was opened.
func epochOf(sender string, n int, notAfter time.Time) *opened {
	o := &opened{peer: identity.Peer{ID: sender}, reader: &envelope.Reader{Header: &envelope.Header{NotAfter: notAfter}}}
	copy(o.id[:], sender)
	binary.BigEndian.PutUint64(o.id[24:], uint64(n))
	return o
}

// TestOpenedBounds: 10^5 epochs of one sender, or of many, leave as many as there may
// be, and others' alone.
func TestOpenedBounds(t *testing.T) {
	in := newIncoming()
	quiet := epochOf("quiet", 0, time.Time{})
	in.add(quiet)
	for i := range 100000 {
		in.add(epochOf("loud", i, time.Time{}))
	}
	if len(in.epochs) != maxOpenedPerSender+1 || len(in.senders) != 2 || in.senders["loud"].Len() != maxOpenedPerSender {
		t.Errorf("%d epochs of %d senders", len(in.epochs), len(in.senders))
	}
	if in.get(&quiet.id) != quiet {
		t.Error("one sender's epochs have cost another its own")
	}
	newest := epochOf("loud", 99999, time.Time{})
	if in.get(&newest.id) == nil {
		t.Error("the newest one is not there")
	}
	for i := range 9000 {
		in.add(epochOf(fmt.Sprint("one of many ", i), 0, time.Time{}))
	}
	if len(in.epochs) != maxOpened {
		t.Errorf("%d epochs", len(in.epochs))
	}
	held := 0
	for id, l := range in.senders {
		if held += l.Len(); l.Len() == 0 {
			t.Errorf("%s is there without an epoch", id)
		}
	}
	if held != maxOpened {
		t.Errorf("%d epochs by their senders", held)
	}
	first := in.add(epochOf("loud", 5, time.Time{}))
	if again := in.add(epochOf("loud", 5, time.Time{})); again != first {
		t.Error("an epoch is there twice")
	}
	in.drop(first)
	in.drop(first)
	if in.get(&first.id) != nil || len(in.epochs) != maxOpened-1 {
		t.Error("it was not dropped, or another one was")
	}
}

// limited reports whether an error says that there is no room, for now.
func limited(err error) bool {
	var r *rejected
	return errors.As(err, &r) && r.reason == ReasonLimit && r.again
}

// TestReplayBounds: what is remembered is bounded for each sender and for all, what has
// no room is refused, and time makes room again.
func TestReplayBounds(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	r := newReplay()
	for i := range 100000 {
		_, err := r.of(epochOf("loud", i, until), time.Hour, now)
		if (err == nil) != (i < maxEpochsPerSender) || err != nil && !limited(err) {
			t.Fatalf("epoch %d: %v", i, err)
		}
	}
	if _, err := r.of(epochOf("loud", 5, until), time.Hour, now); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	for i := range 100000 {
		_, err := r.of(epochOf(fmt.Sprint("one of many ", i), i, until), time.Hour, now)
		if (err == nil) != (i < maxEpochs-maxEpochsPerSender) || err != nil && !limited(err) {
			t.Fatalf("sender %d: %v", i, err)
		}
	}
	if len(r.epochs) != maxEpochs || len(r.senders) != maxEpochs-maxEpochsPerSender+1 {
		t.Errorf("%d epochs of %d senders", len(r.epochs), len(r.senders))
	}
	for i := range 100 { // who fills it does not have us look through it all each time
		if _, err := r.of(epochOf("new", i, until), time.Hour, now.Add(time.Duration(i)*time.Millisecond)); !limited(err) {
			t.Fatal(err)
		}
	}
	if r.swept != now {
		t.Error("it was looked through, and had been a moment ago")
	}
	late := until.Add(time.Hour + 2*clockSkew)
	if _, err := r.of(epochOf("new", 0, until), time.Hour, late); !limited(err) {
		t.Errorf("while they can come again: %v", err)
	}
	if _, err := r.of(epochOf("new", 0, until.Add(time.Hour)), time.Hour, late.Add(time.Second)); err != nil {
		t.Errorf("when they cannot: %v", err)
	}
	if len(r.epochs) != 1 || len(r.senders) != 1 {
		t.Errorf("%d epochs of %d senders", len(r.epochs), len(r.senders))
	}
	r.release()
	if len(r.epochs) != 0 || len(r.senders) != 0 {
		t.Errorf("%d epochs of %d senders after the end", len(r.epochs), len(r.senders))
	}
}

// TestSwept: what cannot come again goes, although there is room.
func TestSwept(t *testing.T) {
	now := time.Now()
	r := newReplay()
	for i := range 100 {
		at := now.Add(time.Duration(i) * time.Minute)
		if _, err := r.of(epochOf("shop", i, at.Add(time.Minute)), time.Minute, at); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.epochs) > 10 {
		t.Errorf("%d epochs are remembered", len(r.epochs))
	}
}

// TestPageBounds: 16 MiB of one sender, 64 MiB of all, however many epochs they are.
func TestPageBounds(t *testing.T) {
	const pagesOfEpoch = envelope.MaxMessages / 4096
	now := time.Now()
	r := newReplay()
	fill := func(sender string) (pages int) {
		for n := range 2 * maxPagesPerSender / pagesOfEpoch {
			state, err := r.of(epochOf(sender, n, now.Add(time.Hour)), time.Hour, now)
			if err != nil {
				t.Fatal(err)
			}
			for p := range uint32(pagesOfEpoch) {
				if state.Begin(p*4096) == envelope.Unseen {
					pages++
				}
			}
		}
		return pages
	}
	if got := fill("loud"); got*envelope.PageSize != 16<<20 {
		t.Errorf("one sender has %d bytes", got*envelope.PageSize)
	}
	got := maxPagesPerSender
	for i := range 5 {
		got += fill(fmt.Sprint("another ", i))
	}
	if got*envelope.PageSize != 64<<20 {
		t.Errorf("all have %d bytes", got*envelope.PageSize)
	}
	r.release()
	if got := fill("after"); got != maxPagesPerSender {
		t.Errorf("after the end: %d pages", got)
	}
}

// TestInflightHasMarkedEventsOnly: a message without memory is nobody's, and nothing is
// kept where no SubscriberWrapper asks.
func TestInflightHasMarkedEventsOnly(t *testing.T) {
	var f inflight
	body := []byte("x")
	f.add(&event{message: broker.Message{Body: body}})
	if len(f.events) != 0 {
		t.Error("an event is kept that nobody asks for")
	}
	f.wanted.Store(true)
	e := &event{message: broker.Message{Body: body}}
	f.add(&event{})
	f.add(e)
	if f.of(body) != e || f.of(nil) != nil || f.of([]byte("x")) != nil {
		t.Error("the event is not known by the memory of its body alone")
	}
	f.remove(e)
	if len(f.events) != 0 {
		t.Error("an event stays after its handler")
	}
}
