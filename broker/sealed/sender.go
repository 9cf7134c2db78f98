package sealed

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
)

// signPurpose is the context of signatures, of rules with Signatures.
const signPurpose = "envelope"

// errRenewed: what an epoch was being made of is partly of the identity before.
var errRenewed = errors.New("sealed: the identity was renewed at this moment")

// sender seals what we publish by one rule.
type sender struct {
	rule *rule
	now  atomic.Pointer[outgoing]

	mu      sync.Mutex // one at a time makes an epoch
	missing []string   // the subscribers without a key, as last reported
}

// outgoing is an epoch of ours. It does not change.
type outgoing struct {
	epoch       *envelope.Epoch
	fingerprint []byte // of our key and the recipients'
	generation  uint64 // of our identity
	from, until time.Time

	version uint64    // of the directory, when recipients were last looked at
	again   time.Time // when they have to be looked at again
}

// good reports whether an epoch can be used for a message of this moment.
func (o *outgoing) good(l *live, now time.Time) bool {
	return o != nil && l.id.Err() == nil && o.generation == l.id.Generation() && !now.Before(o.from) && now.Before(o.until) && o.epoch.Left() > 0
}

// current returns the epoch for a message of this moment.
func (s *sender) current(l *live, now time.Time) (*outgoing, error) {
	if o := s.now.Load(); o.good(l, now) && o.version == l.known() && now.Before(o.again) {
		return o, nil
	}
	return s.renew(l, now)
}

// renew looks at the recipients again, and makes an epoch if they are others, or the
// last one is at its end.
func (s *sender) renew(l *live, now time.Time) (*outgoing, error) {
	next := &outgoing{version: l.known(), generation: l.id.Generation()}
	own := l.id.BoxKeys()
	if len(own) == 0 {
		return nil, fmt.Errorf("sealed: %w", identity.ErrClosed)
	}
	was := s.now.Load()
	to, missing, again := l.recipients(s.rule, now, was != nil && was.generation != next.generation)
	next.again = again
	next.fingerprint = own[0].PublicKey().Bytes()
	for _, r := range to {
		next.fingerprint = append(append(next.fingerprint, r.Key.Bytes()...), r.PQ...)
		next.fingerprint = append(next.fingerprint, r.ID...)
	}
	s.mu.Lock()
	changed := !slices.Equal(s.missing, missing)
	s.missing = missing
	err := s.replace(l, next, own[0], to, now)
	s.mu.Unlock()
	if changed {
		l.report.missing(l.onMissing, s.rule.pattern, missing)
	}
	if err != nil {
		return nil, err
	}
	return next, nil
}

// replace puts next in force, with the epoch of the last one if that will do.
func (s *sender) replace(l *live, next *outgoing, own *ecdh.PrivateKey, to []envelope.Recipient, now time.Time) error {
	if was := s.now.Load(); was.good(l, now) && bytes.Equal(was.fingerprint, next.fingerprint) {
		next.epoch, next.from, next.until = was.epoch, was.from, was.until
		s.now.Store(next)
		return nil
	}
	if len(to) == 0 {
		return fmt.Errorf("%w: no %s is known of %s, who can read %s: start them with the signed registry, which this broker has to be given with broker.Registry, or add their cards with Identity.AddCard",
			ErrNoRecipients, s.rule.keyKind(), strings.Join(s.rule.subscribers, ", "), keys.Quote(s.rule.pattern))
	}
	p := &envelope.Params{
		Suite: envelope.PreferredSuite(s.rule.postQuantum), Sender: l.id.ID(), SenderKey: own, Scope: s.rule.pattern, Recipients: to,
		Created: now, NotAfter: now.Add(l.rotate),
	}
	// The card is made in any case: an identity that has ended has none.
	card, err := l.id.CardWithoutPQ()
	if err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	if !l.omitCard || s.rule.signatures { // whose key the card has
		p.Credential = card
	}
	if leaf := l.id.Peer().Certificate; leaf.NotAfter.Before(p.NotAfter) {
		p.NotAfter = leaf.NotAfter
	}
	if s.rule.signatures {
		p.Sign = func(digest []byte) ([]byte, error) { return l.id.Sign(signPurpose, digest) }
	}
	if next.epoch, err = envelope.NewEpoch(p, rand.Reader); err != nil {
		return fmt.Errorf("sealed: %w", err)
	}
	if l.id.Generation() != next.generation {
		return errRenewed
	}
	next.from, next.until = now, p.NotAfter.Truncate(time.Second)
	s.now.Store(next)
	l.report.broker.counts.epochs.Add(1)
	return nil
}
