package sealed

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/envelope"
)

// Bounds on what a subscription remembers; see the package comment.
const (
	maxEpochs, maxEpochsPerSender = 16384, 4096
	maxPages, maxPagesPerSender   = 64 << 20 / envelope.PageSize, 16 << 20 / envelope.PageSize
	sweepEvery, sweepFullEvery    = time.Minute, time.Second
)

type epochID = [envelope.EpochIDSize]byte

// replay remembers which messages a subscription has handled.
type replay struct {
	budget *envelope.Budget

	mu      sync.Mutex
	epochs  map[epochID]*remembered
	senders map[string]*share
	swept   time.Time
}

// remembered is what was handled of one epoch.
type remembered struct {
	*envelope.Replay
	of       *share
	notAfter time.Time // no message of it is younger
}

// share is what one sender takes.
type share struct {
	id     string
	epochs int
	budget *envelope.Budget
}

func newReplay() *replay {
	return &replay{
		budget:  envelope.NewBudget(maxPages, nil),
		epochs:  make(map[epochID]*remembered),
		senders: make(map[string]*share),
	}
}

// of returns what is remembered of an epoch, or an error if there is no room.
func (r *replay) of(o *opened, maxAge time.Duration, now time.Time) (*envelope.Replay, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.epochs[o.id]; known != nil {
		return known.Replay, nil
	}
	r.sweep(maxAge, now)
	s := r.senders[o.peer.ID]
	if s == nil {
		s = &share{id: o.peer.ID, budget: envelope.NewBudget(maxPagesPerSender, r.budget)}
	}
	if len(r.epochs) >= maxEpochs || s.epochs >= maxEpochsPerSender {
		return nil, tryAgain(ReasonLimit, fmt.Errorf("sealed: %d epochs, %d of this sender, of which messages can still come again: no room for another", len(r.epochs), s.epochs))
	}
	r.senders[s.id] = s
	s.epochs++
	n := &remembered{envelope.NewReplay(s.budget), s, o.reader.Header.NotAfter}
	r.epochs[o.id] = n
	return n.Replay, nil
}

// sweep forgets what is too old to come again: once a minute, and when there is no room
// once a second.
func (r *replay) sweep(maxAge time.Duration, now time.Time) {
	every := sweepEvery
	if len(r.epochs) >= maxEpochs {
		every = sweepFullEvery
	}
	if now.Sub(r.swept) < every {
		return
	}
	r.swept = now
	for id, n := range r.epochs {
		if now.After(n.notAfter.Add(maxAge + 2*clockSkew)) {
			r.forget(id, n)
		}
	}
}

func (r *replay) forget(id epochID, n *remembered) {
	n.Release()
	delete(r.epochs, id)
	if n.of.epochs--; n.of.epochs == 0 {
		delete(r.senders, n.of.id)
	}
}

func (r *replay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.epochs {
		r.forget(id, n)
	}
}

// begin makes the state of a message Busy, or refuses it.
func (s *subscription) begin(l *live, o *opened, ev *event, now time.Time) error {
	if s.replay == nil {
		return nil
	}
	state, err := s.replay.of(o, l.maxAge, now)
	if err != nil {
		return err
	}
	switch state.Begin(ev.counter) {
	case envelope.Busy:
		return tryAgain(ReasonReplay, errors.New("sealed: it is being handled at this moment"))
	case envelope.Done:
		return reject(ReasonReplay, errors.New("sealed: it was handled already"))
	case envelope.NoRoom:
		return tryAgain(ReasonLimit, errors.New("sealed: no room to remember that it was handled"))
	}
	ev.state = state
	if err := ev.askStore(); err != nil {
		state.End(ev.counter, false)
		ev.state = nil
		return err
	}
	return nil
}
