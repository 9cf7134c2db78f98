package sealed

import (
	"container/list"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/effort"
	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
)

// Bounds on what others can make a broker hold or do.
const (
	maxOpened          = 8192 // epochs that are held ready
	maxOpenedPerSender = 512
	clockSkew          = keys.ClockSkew
)

// opened is an epoch of somebody's that we can read.
type opened struct {
	reader *envelope.Reader
	id     [envelope.EpochIDSize]byte
	from   keys.ID
	peer   identity.Peer
	chain  []*x509.Certificate // of the card, nil if the directory vouches for the key

	begins, ends time.Time // between which its messages were sealed, by clocks that differ

	vouched atomic.Pointer[vouched]
	elem    *list.Element // in the order of the sender's
}

// incoming holds the epochs that were opened. Whoever is in was named by a rule and has
// proved who it is; which messages were handled is not known here.
type incoming struct {
	effort *effort.Limit

	mu      sync.RWMutex
	epochs  map[[envelope.EpochIDSize]byte]*opened
	senders map[string]*list.List // of *opened, the oldest first
}

func newIncoming() *incoming {
	return &incoming{
		effort:  effort.New(),
		epochs:  make(map[[envelope.EpochIDSize]byte]*opened),
		senders: make(map[string]*list.List),
	}
}

func (in *incoming) get(id *[envelope.EpochIDSize]byte) *opened {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.epochs[*id]
}

// add enters an epoch. One too many of its sender's, or of all, costs the oldest one of
// the sender's that has most: it can be opened again.
func (in *incoming) add(o *opened) *opened {
	in.mu.Lock()
	defer in.mu.Unlock()
	if first := in.epochs[o.id]; first != nil {
		return first
	}
	own := in.senders[o.peer.ID]
	if own == nil {
		own = list.New()
		in.senders[o.peer.ID] = own
	}
	if own.Len() >= maxOpenedPerSender {
		in.remove(own.Front().Value.(*opened))
	} else if len(in.epochs) >= maxOpened {
		in.remove(in.longest().Front().Value.(*opened))
	}
	if in.senders[o.peer.ID] == nil { // it had one, which had to go
		in.senders[o.peer.ID] = own
	}
	o.elem = own.PushBack(o)
	in.epochs[o.id] = o
	return o
}

func (in *incoming) longest() (longest *list.List) {
	for _, l := range in.senders {
		if longest == nil || l.Len() > longest.Len() {
			longest = l
		}
	}
	return longest
}

func (in *incoming) drop(o *opened) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.epochs[o.id] == o {
		in.remove(o)
	}
}

func (in *incoming) remove(o *opened) {
	delete(in.epochs, o.id)
	own := in.senders[o.peer.ID]
	own.Remove(o.elem)
	if own.Len() == 0 {
		delete(in.senders, o.peer.ID)
	}
}

// open returns the epoch of an envelope, whose sender still is vouched for. Who may
// publish on the topic is asked before any public-key operation.
func (in *incoming) open(l *live, r *rule, e *envelope.Envelope, now time.Time, history bool) (*opened, string, error) {
	if o := in.get(&e.Epoch); o != nil {
		claimed := o.peer.ID
		if !r.allows(o.from, claimed) {
			return nil, claimed, notAllowed(r, claimed)
		}
		if o.stale(l, now) {
			if err := o.vouch(l, now); err != nil {
				in.drop(o)
				return nil, claimed, err
			}
		}
		return o, claimed, nil
	}
	if e.Header == nil {
		return nil, "", reject(ReasonNotRecipient, errors.New("sealed: of an epoch that is not known here, and that it does not bring"))
	}
	h, err := envelope.ParseHeader(e.Header)
	if err != nil {
		return nil, "", err
	}
	from, err := keys.ParseID(h.Sender)
	if err != nil {
		return nil, h.Sender, reject(ReasonTampered, err)
	}
	if !r.allows(from, h.Sender) {
		return nil, h.Sender, notAllowed(r, h.Sender)
	}
	if err := checkEpoch(l, h, now, history); err != nil {
		return nil, h.Sender, err
	}
	own := ownKeys(l.id)
	if len(own) == 0 { // closed since
		return nil, h.Sender, tryAgain(ReasonNotRecipient, fmt.Errorf("sealed: %w", identity.ErrClosed))
	}
	if !h.Addressed(own...) {
		return nil, h.Sender, envelope.ErrNotRecipient
	}
	if !in.effort.Room(h.Sender, now) {
		return nil, h.Sender, tryAgain(ReasonLimit, errors.New("sealed: too many epochs that are not known here, or did not verify: they are refused for a moment"))
	}
	o, err := unwrap(l, from, h, e, own, now)
	if err != nil {
		in.effort.Spend(h.Sender, effort.Junk, now)
		return nil, h.Sender, err
	}
	in.effort.Spend(h.Sender, 1, now)
	l.report.broker.counts.opened.Add(1)
	return in.add(o), h.Sender, nil
}

func notAllowed(r *rule, id string) error {
	return reject(ReasonPublisher, fmt.Errorf("sealed: %s is not among the publishers of %s", keys.Quote(id), keys.Quote(r.pattern)))
}

// checkEpoch refuses what no honest sender makes, or is too old.
func checkEpoch(l *live, h *envelope.Header, now time.Time, history bool) error {
	switch {
	case h.NotAfter.Sub(h.Created) > mostRotate+time.Second:
		return reject(ReasonLimit, fmt.Errorf("sealed: an epoch of %v: at most %v", h.NotAfter.Sub(h.Created), mostRotate))
	case h.Created.After(now.Add(clockSkew)):
		return reject(ReasonExpired, fmt.Errorf("sealed: an epoch of %s, now is %s: check the clocks", stamp(h.Created), stamp(now)))
	case !history && h.NotAfter.Add(l.maxAge).Before(now):
		return reject(ReasonExpired, fmt.Errorf("sealed: an epoch that ended at %s: older than %v", stamp(h.NotAfter), l.maxAge))
	}
	return nil
}

// unwrap makes sure of the sender, and then opens the epoch.
func unwrap(l *live, from keys.ID, h *envelope.Header, e *envelope.Envelope, own []envelope.OwnKey, now time.Time) (*opened, error) {
	o := &opened{id: e.Epoch, from: from, begins: h.Created.Add(-clockSkew), ends: h.NotAfter.Add(clockSkew)}
	v := &vouched{generation: l.id.Generation(), version: l.known()}
	var err error
	if v.until, err = o.introduce(l, h, now); err != nil {
		return nil, err
	}
	if o.reader, err = envelope.Unwrap(e, h, l.id.ID(), own...); err != nil {
		return nil, err
	}
	o.vouched.Store(v)
	return o, nil
}

// ownKeys are the keys that open what was sealed to us.
func ownKeys(id *identity.Identity) []envelope.OwnKey {
	own := id.SealKeys()
	keys := make([]envelope.OwnKey, len(own))
	for i, k := range own {
		keys[i] = envelope.OwnKey{X25519: k.X25519, PQ: k.PQ}
	}
	return keys
}
