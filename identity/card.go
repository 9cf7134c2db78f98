package identity

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Card returns a signed statement of our box keys, to be handed to peers that
// share no registry with us; they enter it with AddCard. It is bytes, no text, of
// at most 32 KiB, about 2 KiB mostly; spec/card.md describes them. It holds nothing
// secret. It is good until our leaf ends, at most 90 days: hand out a new one after
// each renewal, and after each change of a box key.
func (id *Identity) Card() ([]byte, error) { return id.makeCard(true) }

// CardWithoutPQ is Card without the post-quantum box key, 1216 bytes shorter. It is
// for places where size counts and the X25519 key is what matters, such as in front
// of a message, whose sender it proves. Peers who know us by nothing else cannot seal
// to us with a post-quantum suite; a pair that they know they keep.
func (id *Identity) CardWithoutPQ() ([]byte, error) { return id.makeCard(false) }

func (id *Identity) makeCard(pq bool) ([]byte, error) {
	now, err := id.usable()
	if err != nil {
		return nil, err
	}
	leaf := now.set.Leaf()
	issued := time.Now()
	expires := issued.Add(maxCardLifetime)
	if leaf.NotAfter.Before(expires) {
		expires = leaf.NotAfter
	}
	own := now.sealKey().Public()
	key := cardKey{x25519: own.X25519.Bytes()}
	if pq {
		key.pq = own.PQ
	}
	c := card{
		id:      now.self.ID,
		issued:  issued.Unix(),
		expires: expires.Unix(),
		keys:    []cardKey{key},
	}
	for _, cert := range now.set.Chain {
		c.certs = append(c.certs, cert.Raw)
	}
	c.statement = c.encodeStatement()
	// One generation signs and is stated: Sign would take whatever is in force then.
	if c.signature, err = now.sign(cardPurpose, c.statement); err != nil {
		return nil, err
	}
	out := c.encode()
	if _, err := parseCard(out); err != nil {
		return nil, fmt.Errorf("identity: our own chain does not fit in a card: %w", err)
	}
	return out, nil
}

// AddCard verifies a peer's card and enters its box keys in the peer directory,
// until the card, its certificate or a revocation list that vouches for it ends.
// The card's chain must lead to a CA of the trust domain that its ID is of, our
// own or a federated one. When a later revocation or change of trust takes that
// away, the keys are removed. The error wraps ErrCard, ErrSignature, ErrExpired,
// ErrNotYetValid or one of Verify's.
//
// An older card of the same peer stays good until it ends, so a box key that has
// leaked is withdrawn by revoking the certificate.
func (id *Identity) AddCard(data []byte) error {
	c, err := id.OpenCard(data, time.Now())
	if err != nil {
		return err
	}
	for _, key := range c.Keys {
		if err := id.directory.addCardKey(c.Peer.ID, key, c.NotAfter, c.Chain); err != nil {
			return err
		}
	}
	// The trust may have changed while we verified, and the sweep that follows a
	// change have passed before the keys were there.
	if _, _, err := id.Verify(c.Chain); err != nil {
		id.directory.recheck(id.vouches)
		return err
	}
	return nil
}

// Card is what a card says, verified.
type Card struct {
	Peer Peer
	// Keys are pairs, or X25519 keys alone where the card states no more. They have
	// been checked: see CheckBoxKey and CheckPQKey. Each PQ is part of the card.
	Keys []SealPublicKey
	// Chain vouches for them; leaf first.
	Chain []*x509.Certificate
	// NotAfter is the earliest end of the card, a certificate or a revocation list.
	NotAfter time.Time
}

// OpenCard verifies a card as AddCard does, and enters nothing. The card and its
// certificates have to have been valid at a time, on the terms of VerifyAsOf.
func (id *Identity) OpenCard(data []byte, at time.Time) (Card, error) {
	if _, err := id.current(); err != nil {
		return Card{}, err
	}
	if len(data) > maxCardSize {
		return Card{}, fmt.Errorf("%w: %d bytes: at most %d", ErrCard, len(data), maxCardSize)
	}
	// Certificates are parts of what they are parsed from: it has to be ours.
	c, err := parseCard(bytes.Clone(data))
	if err != nil {
		return Card{}, err
	}
	opened := Card{Chain: make([]*x509.Certificate, len(c.certs))}
	for i, der := range c.certs {
		if opened.Chain[i], err = x509.ParseCertificate(der); err != nil {
			return Card{}, fmt.Errorf("%w: certificate %d: %w", ErrCard, i+1, err)
		}
	}
	if opened.Peer, opened.NotAfter, err = id.VerifyAsOf(opened.Chain, at); err != nil {
		return Card{}, err
	}
	if opened.Peer.ID != c.id {
		return Card{}, fmt.Errorf("%w: it speaks for %s, its certificate is for %s", ErrCard, keys.Quote(c.id), opened.Peer.ID)
	}
	if err := VerifySignature(opened.Chain[0], cardPurpose, c.signature, c.statement); err != nil {
		return Card{}, err
	}
	issued, expires := time.Unix(c.issued, 0), time.Unix(c.expires, 0)
	switch {
	case issued.After(at.Add(keys.ClockSkew)):
		return Card{}, fmt.Errorf("identity: card of %s: %w: issued at %s, now is %s: check the clock", c.id, ErrNotYetValid, stamp(issued), stamp(at))
	case !at.Before(expires):
		return Card{}, fmt.Errorf("identity: card of %s: %w: it ended at %s, now is %s: ask for a new one", c.id, ErrExpired, stamp(expires), stamp(at))
	}
	if expires.Before(opened.NotAfter) {
		opened.NotAfter = expires
	}
	if opened.Keys, err = c.checkKeys(); err != nil {
		return Card{}, err
	}
	return opened, nil
}

func (c *card) checkKeys() ([]SealPublicKey, error) {
	pairs := make([]SealPublicKey, len(c.keys))
	for i, key := range c.keys {
		x25519, err := parseBoxKey(key.x25519)
		if err == nil && key.pq != nil {
			err = CheckPQKey(key.pq)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrCard, i+1, err)
		}
		pairs[i] = SealPublicKey{X25519: x25519, PQ: key.pq}
	}
	return pairs, nil
}
