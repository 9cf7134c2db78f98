package sealed

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// vouchAgain is how long a sender counts as vouched for although nothing has changed:
// certificates and revocation lists end by themselves.
const vouchAgain = time.Minute

// vouched is when it was last made sure that the sender is who it says.
type vouched struct {
	generation uint64 // of our identity, whose trust a card is judged by
	version    uint64 // of the directory, for a key that it has
	until      time.Time
}

// stale reports whether a sender has to be made sure of again.
func (o *opened) stale(l *live, now time.Time) bool {
	v := o.vouched.Load()
	return !now.Before(v.until) || v.generation != l.id.Generation() || o.chain == nil && v.version != l.known()
}

// introduce finds out who holds the sender's key: by the card that the epoch brings, or
// else by the peer directory.
func (o *opened) introduce(l *live, h *envelope.Header, now time.Time) (until time.Time, err error) {
	if len(h.Credential) > 0 {
		return now.Add(vouchAgain), o.readCard(l, h, now)
	}
	until, err = o.lookUp(l, h.Sender, h.SenderKey, now)
	if service := o.from.Service; err != nil && o.from.TrustDomain == l.self.TrustDomain {
		l.follow.lookup(service, false)
		until, err = o.lookUp(l, h.Sender, h.SenderKey, now)
	}
	return until, err
}

func (o *opened) readCard(l *live, h *envelope.Header, now time.Time) error {
	card, err := l.id.OpenCard(h.Credential, now)
	if errors.Is(err, identity.ErrExpired) && h.Created.Before(now) {
		card, err = l.id.OpenCard(h.Credential, h.Created)
	}
	if err != nil {
		return badCard(err)
	}
	if card.Peer.ID != h.Sender {
		return reject(ReasonPublisher, fmt.Errorf("sealed: the card is of %s", card.Peer.ID))
	}
	if end := card.Chain[0].NotAfter; h.NotAfter.After(end) {
		return reject(ReasonPublisher, fmt.Errorf("sealed: an epoch until %s, of a certificate until %s", stamp(h.NotAfter), stamp(end)))
	}
	for _, key := range card.Keys {
		if string(key.X25519.Bytes()) == string(h.SenderKey) {
			o.peer, o.chain = card.Peer, card.Chain
			return nil
		}
	}
	return reject(ReasonPublisher, errors.New("sealed: the sender's card does not have its key"))
}

// badCard refuses a card, for now if it is we who cannot judge it.
func badCard(err error) error {
	ours := errors.Is(err, identity.ErrClosed) || errors.Is(err, identity.ErrStaleCRL)
	return &rejected{ReasonPublisher, ours, fmt.Errorf("sealed: the sender's card: %w", err)}
}

// verifier returns what checks the signatures of an epoch that has them.
func (o *opened) verifier() func(digest, signature []byte) bool {
	if o.reader.Header.Mode != envelope.Signed {
		return nil
	}
	return func(digest, signature []byte) bool {
		return identity.VerifySignature(o.peer.Certificate, signPurpose, signature, digest) == nil
	}
}

func (o *opened) lookUp(l *live, id string, key []byte, now time.Time) (until time.Time, err error) {
	peer, until, known := l.id.Directory().Holder(id, key)
	if !known {
		return until, reject(ReasonPublisher, errors.New("sealed: the sender's key is not known: have it registered with the signed registry, add its card with Identity.AddCard, or publish without sealed.OmitCard"))
	}
	o.peer = peer
	if most := now.Add(vouchAgain); most.Before(until) {
		until = most
	}
	return until, nil
}

// vouch makes sure again of a sender that was known, after a change or a while.
func (o *opened) vouch(l *live, now time.Time) error {
	v := vouched{l.id.Generation(), l.known(), now.Add(vouchAgain)}
	if own := ownKeys(l.id); len(own) > 0 && !o.reader.Uses(own...) {
		return fmt.Errorf("%w: with a key that is ours no more", envelope.ErrNotRecipient)
	}
	if o.chain == nil {
		_, until, known := l.id.Directory().Holder(o.peer.ID, o.reader.Header.SenderKey)
		if !known {
			return reject(ReasonPublisher, errors.New("sealed: the sender's key is not known any more"))
		}
		if until.Before(v.until) {
			v.until = until
		}
	} else {
		_, _, err := l.id.VerifyAsOf(o.chain, now)
		if errors.Is(err, identity.ErrExpired) {
			_, _, err = l.id.VerifyAsOf(o.chain, o.reader.Header.Created)
		}
		if err != nil {
			return badCard(err)
		}
	}
	o.vouched.Store(&v)
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
