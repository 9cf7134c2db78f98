package encrypted

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/effort"
	"github.com/go-signet/signet/internal/envelope"
	"golang.org/x/sync/singleflight"
)

// inbox has the epochs of others that we know.
type inbox struct {
	effort  *effort.Limit
	admits  singleflight.Group
	budget  *envelope.Budget
	mu      sync.RWMutex
	epochs  map[[envelope.EpochIDSize]byte]*received
	senders map[string]*senderState
	swept   time.Time
	// How many epochs there may be, and of one sender.
	most, mostOfSender int
}

// senderState is what one sender takes.
type senderState struct {
	epochs int
	budget *envelope.Budget
}

func (in *inbox) init() {
	in.effort = effort.New()
	in.budget = envelope.NewBudget(MaxReplayMemory/envelope.PageSize, nil)
	in.epochs = make(map[[envelope.EpochIDSize]byte]*received)
	in.senders = make(map[string]*senderState)
	in.most, in.mostOfSender = MaxEpochs, MaxSenderEpochs
}

// received is an epoch of somebody else.
type received struct {
	reader  *envelope.Reader
	chain   []*x509.Certificate // that came with it; nil if the peer directory knows the key
	verdict atomic.Pointer[verdict]
	answers atomic.Pointer[answerKey]

	budget *envelope.Budget // of the sender
	pages  int              // that the epoch itself takes of it

	mu       sync.Mutex
	replay   *envelope.Replay
	used     time.Time
	accepted bool // something of it, ever
	gone     bool // its replay window is forgotten
}

// verdict is who the sender is, or why it is not to be trusted, as long as nothing has
// changed.
type verdict struct {
	peer                *identity.Peer
	until               time.Time
	err                 error
	generation, version uint64
	again               time.Time // when to look again: keys of ours end by themselves
}

// stamped is an error with two times in it.
func stamped(format string, a, b time.Time) error {
	const layout = "2006-01-02T15:04:05.000Z"
	return fmt.Errorf(format, a.UTC().Format(layout), b.UTC().Format(layout))
}

// id is the epoch's.
func (r *received) id() [envelope.EpochIDSize]byte { return r.reader.ID() }

// handled marks a message that needs no replay window, so that those around it need
// none either.
func (r *received) handled(counter uint32, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.replay.Handled(counter)
		r.accepts(now)
	}
}

// letIn notes that something was accepted that takes none of the replay window.
func (r *received) letIn(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepts(now)
}

// begin marks a message as handled, and returns what it was.
func (r *received) begin(counter uint32, now time.Time) (state envelope.State, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, true
	}
	if state = r.replay.Begin(counter); state == envelope.Unseen {
		r.replay.End(counter, true)
		r.accepts(now)
	}
	return state, false
}

// accepts notes when something was accepted. Of messages that come at the same time the
// first may wait for Authorize, so that it gets here last. The lock is held.
func (r *received) accepts(now time.Time) {
	if r.accepted = true; now.After(r.used) {
		r.used = now
	}
}

func (in *inbox) get(id [envelope.EpochIDSize]byte) *received {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.epochs[id]
}

// admit decides about an epoch that is new, once for all who bring it at the same time.
func (e *engine) admit(env *envelope.Envelope, scope string, now time.Time) (*received, error) {
	if env.Header == nil {
		return nil, reject(UnknownEpoch, "the epoch is not known here, and did not come along")
	}
	h, err := envelope.ParseHeader(env.Header)
	if err != nil {
		return nil, err
	}
	if err := e.plausible(h, scope, now); err != nil {
		return nil, err
	}
	own := e.ownKeys()
	if !h.Addressed(own...) {
		return nil, envelope.ErrNotRecipient
	}
	key := string(byte(env.Suite)) + string(env.Epoch[:]) + string(env.Header) + string(env.Grants)
	r, err, _ := e.in.admits.Do(key, func() (any, error) {
		if r := e.in.get(env.Epoch); r != nil {
			return r, nil
		}
		if !e.in.effort.Room(h.Sender, now) {
			return nil, reject(Limit, "too many new epochs in this sender's name, or in all")
		}
		r, err := e.unwrap(env, h, own, now)
		if err != nil {
			e.in.effort.Spend(h.Sender, effort.Junk, now)
			return nil, err
		}
		e.in.effort.Spend(h.Sender, 1, now)
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	return r.(*received), nil
}

// longestEpoch is how long an epoch of others may last.
const longestEpoch = 24 * time.Hour

// plausible refuses an epoch for what it says, before any public-key operation.
func (e *engine) plausible(h *envelope.Header, scope string, now time.Time) error {
	switch {
	case !inScope(h.Scope, scope):
		return reject(Misdirected, "sealed for %s, not for %s", quote(h.Scope), quote(scope))
	case h.Mode == envelope.Signed:
		return reject(Suite, "signed messages are not for a codec")
	case e.o.requirePQ && !h.Suite.PQ():
		return reject(Suite, "suite %d is no post-quantum one", h.Suite)
	case h.Created.After(now.Add(ClockSkew)):
		return reject(Stale, "%w", stamped("the epoch begins at %s, now is %s", h.Created, now))
	case now.Sub(h.NotAfter) > max(e.o.maxAge, e.o.eventAge), h.NotAfter.Sub(h.Created) > longestEpoch:
		return reject(Stale, "%w", stamped("the epoch ends at %s, now is %s", h.NotAfter, now))
	}
	return nil
}

// unwrap proves the sender of an epoch, opens it and makes it known.
func (e *engine) unwrap(env *envelope.Envelope, h *envelope.Header, own []envelope.OwnKey, now time.Time) (*received, error) {
	r := new(received)
	var v *verdict
	if len(h.Credential) > 0 {
		generation := e.id.Generation()
		card, err := e.id.OpenCard(h.Credential, now)
		if err != nil {
			return nil, reject(Sender, "%w", err)
		}
		if card.Peer.ID != h.Sender || !slices.ContainsFunc(card.Keys, func(k identity.SealPublicKey) bool { return bytes.Equal(k.X25519.Bytes(), h.SenderKey) }) {
			return nil, reject(Sender, "the card is of %s, or of other keys; the sender says that it is %s", card.Peer.ID, quote(h.Sender))
		}
		r.chain = card.Chain
		v = &verdict{peer: &card.Peer, until: card.NotAfter, generation: generation}
	} else {
		v = e.holder(h.Sender, h.SenderKey)
	}
	if v.err != nil {
		return nil, v.err
	}
	r.verdict.Store(v)
	reader, err := envelope.Unwrap(env, h, e.id.ID(), own...)
	if err != nil {
		return nil, &rejected{reasonOf(err), err, *v.peer}
	}
	r.reader = reader
	r.used = now
	k, err := newAnswerKey(reader)
	if err != nil {
		return nil, err
	}
	r.answers.Store(k)
	return e.in.add(env.Epoch, r, now, e.o.maxAge)
}

// holder asks the peer directory whose a key is.
func (e *engine) holder(sender string, key []byte) *verdict {
	v := &verdict{version: e.id.Directory().Version(), generation: e.id.Generation()}
	peer, until, known := e.id.Directory().Holder(sender, key)
	v.peer, v.until = &peer, until
	if !known {
		v.err = reject(Sender, "the peer directory knows no such key of %s", quote(sender))
	}
	return v
}

// verdictOf returns who the sender of a known epoch is, and asks again when trust, or
// the peer directory, has changed.
func (e *engine) verdictOf(r *received, now time.Time) *verdict {
	v := r.verdict.Load()
	if changed := e.changed(r, v); changed || !now.Before(v.again) {
		v = e.judgeAgain(r, v, changed, now)
	}
	if v.err == nil && !now.Before(v.until) {
		return v.over(now)
	}
	return v
}

//go:noinline
func (v *verdict) over(now time.Time) *verdict {
	return &verdict{err: &rejected{Sender, stamped("what vouches for it ended at %s, now is %s", v.until, now), *v.peer}}
}

// verdictFor is how long a verdict counts although nothing has changed.
const verdictFor = time.Minute

//go:noinline
func (e *engine) judgeAgain(r *received, v *verdict, changed bool, now time.Time) *verdict {
	v = e.judge(r, v, changed)
	v.again = now.Add(verdictFor)
	r.verdict.Store(v)
	return v
}

// changed reports whether what a verdict rests on is not what it was.
func (e *engine) changed(r *received, v *verdict) bool {
	return v.generation != e.id.Generation() || r.chain == nil && v.version != e.id.Directory().Version()
}

// judge says anew whether an epoch is to be trusted. Unless something has changed, only
// our own key can have ended.
func (e *engine) judge(r *received, was *verdict, changed bool) *verdict {
	generation := e.id.Generation()
	if !r.reader.Uses(e.ownKeys()...) {
		return &verdict{peer: was.peer, generation: generation, version: e.id.Directory().Version(),
			err: &rejected{NotRecipient, errors.New("sealed to a key that is ours no more"), *was.peer}}
	}
	if !changed {
		same := *was
		return &same
	}
	if r.chain == nil {
		return e.holder(r.reader.Header.Sender, r.reader.Header.SenderKey)
	}
	peer, until, err := e.id.Verify(r.chain)
	if err != nil {
		peer, err = *was.peer, &rejected{Sender, err, *was.peer}
	}
	return &verdict{peer: &peer, until: until, err: err, generation: generation}
}

// add makes an epoch known. If it is known already, that one counts.
func (in *inbox) add(id [envelope.EpochIDSize]byte, r *received, now time.Time, maxAge time.Duration) (*received, error) {
	sender := r.reader.Header.Sender
	in.mu.Lock()
	defer in.mu.Unlock()
	if known := in.epochs[id]; known != nil {
		return known, nil
	}
	if in.full(sender) || now.Sub(in.swept) > time.Minute {
		in.sweep(now, maxAge, in.full(sender))
	}
	if in.full(sender) {
		return nil, &rejected{Limit, fmt.Errorf("more than %d epochs, or %d of this sender, within %v", in.most, in.mostOfSender, maxAge), *r.verdict.Load().peer}
	}
	if !in.room(sender, r) && (!in.sweep(now, maxAge, true) || !in.room(sender, r)) {
		return nil, &rejected{Limit, errors.New("what is remembered of epochs has no room: see MaxReplayMemory"), *r.verdict.Load().peer}
	}
	in.epochs[id] = r
	return r, nil
}

// room takes room for an epoch of a sender, and reports whether there was some.
func (in *inbox) room(sender string, r *received) bool {
	s := in.senders[sender]
	if s == nil {
		s = &senderState{budget: envelope.NewBudget(MaxSenderReplayMemory/envelope.PageSize, in.budget)}
	}
	r.pages = (r.reader.Memory() + envelope.PageSize - 1) / envelope.PageSize
	if !s.budget.Take(r.pages) {
		return false
	}
	r.budget, r.replay = s.budget, envelope.NewReplay(s.budget)
	s.epochs++
	in.senders[sender] = s
	return true
}

func (in *inbox) full(sender string) bool {
	s := in.senders[sender]
	return len(in.epochs) >= in.most || s != nil && s.epochs >= in.mostOfSender
}

// sweep forgets epochs of which nothing was accepted for so long that all that was
// accepted would be too old by now: so nothing can be replayed. Where room is short it
// forgets those too of which nothing was accepted ever, as of senders that are not let in.
// It runs once a second at most, and reports whether it has.
func (in *inbox) sweep(now time.Time, maxAge time.Duration, short bool) bool {
	if now.Sub(in.swept) < time.Second {
		return false
	}
	in.swept = now
	for id, r := range in.epochs {
		if !r.forget(now, maxAge+2*ClockSkew, short) {
			continue
		}
		delete(in.epochs, id)
		sender := r.reader.Header.Sender
		if s := in.senders[sender]; s != nil {
			if s.epochs--; s.epochs == 0 {
				delete(in.senders, sender)
			}
		}
	}
	return true
}

// makeRoom forgets what it can, for a message of a known epoch that finds no room in the
// replay window, and reports whether it is worth another try.
func (in *inbox) makeRoom(now time.Time, maxAge time.Duration) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sweep(now, maxAge, true)
}

func (r *received) forget(now time.Time, idle time.Duration, unaccepted bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.used) <= idle && (r.accepted || !unaccepted) {
		return false
	}
	r.gone = true
	r.replay.Release()
	r.budget.Give(r.pages)
	return true
}

// answer appends an answer to dst.
func (r *received) answer(dst []byte, q *question, kind byte, text string, data []byte) ([]byte, error) {
	for {
		k := r.answers.Load()
		out, err := k.seal(dst, q, kind, text, data)
		if out != nil || err != nil {
			return out, err
		}
		next, err := newAnswerKey(r.reader) // the other has sealed 2^32 answers
		if err != nil {
			return nil, err
		}
		r.answers.CompareAndSwap(k, next)
	}
}
