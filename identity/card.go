package identity

import (
	"crypto/ecdh"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

// Layout of a card, described in spec/card.md. Integers are big-endian.
//
//	magic (4) ‖ version (1) ‖ statement length (2) ‖ statement ‖
//	certificate count (1) ‖ { length (2) ‖ DER }… ‖ signature length (2) ‖ signature
//
//	statement: ID length (2) ‖ ID ‖ issued (8) ‖ expires (8) ‖ key count (1) ‖ { key (32) }…
const (
	cardMagic       = "SGNC"
	cardVersion     = 1
	cardHeaderSize  = len(cardMagic) + 1
	cardLengthSize  = 2
	cardTimeSize    = 8
	cardCountSize   = 1
	cardPurpose     = "card"
	maxCardSize     = 32 << 10
	maxCardKeys     = 8
	maxCardID       = len("spiffe:///") + keys.MaxTrustDomain + keys.MaxService
	maxCardCert     = 16 << 10
	maxCardSig      = keys.MaxRSABits / 8
	maxCardLifetime = 90 * 24 * time.Hour
)

// card is a parsed card: well-formed, not verified.
type card struct {
	statement []byte // the bytes that are signed
	id        string
	issued    int64 // Unix time, seconds
	expires   int64
	keys      [][]byte
	certs     [][]byte // DER, leaf first
	signature []byte
}

// Card returns a signed statement of our box keys, to be handed to peers that
// share no registry with us; they enter it with AddCard. It is bytes, no text, of
// at most 32 KiB; spec/card.md describes them. It holds nothing secret. It is good
// until our leaf ends, at most 90 days: hand out a new one after each renewal, and
// after each change of the box key.
func (id *Identity) Card() ([]byte, error) {
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
	c := card{
		id:      now.self.ID,
		issued:  issued.Unix(),
		expires: expires.Unix(),
		keys:    [][]byte{now.set.Box.PublicKey().Bytes()},
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
		if err := id.directory.addKey(c.Peer.ID, key.Bytes(), c.NotAfter, c.Chain); err != nil {
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
	Keys []*ecdh.PublicKey // X25519, none of low order
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
	c, err := parseCard(data)
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
	for i, raw := range c.keys {
		key, err := parseBoxKey(raw)
		if err != nil {
			return Card{}, fmt.Errorf("%w: key %d: %w", ErrCard, i+1, err)
		}
		opened.Keys = append(opened.Keys, key)
	}
	return opened, nil
}

func (c *card) encodeStatement() []byte {
	out := appendSized(nil, []byte(c.id))
	out = binary.BigEndian.AppendUint64(out, uint64(c.issued))
	out = binary.BigEndian.AppendUint64(out, uint64(c.expires))
	out = append(out, byte(len(c.keys)))
	for _, key := range c.keys {
		out = append(out, key...)
	}
	return out
}

func (c *card) encode() []byte {
	out := append([]byte(cardMagic), cardVersion)
	out = appendSized(out, c.statement)
	out = append(out, byte(len(c.certs)))
	for _, cert := range c.certs {
		out = appendSized(out, cert)
	}
	return appendSized(out, c.signature)
}

func appendSized(out, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
}

// parseCard reads a card strictly: there is one encoding of each card, and nothing
// may follow it. What it returns is part of data.
func parseCard(data []byte) (*card, error) {
	if len(data) > maxCardSize {
		return nil, fmt.Errorf("%w: %d bytes: at most %d", ErrCard, len(data), maxCardSize)
	}
	if len(data) < cardHeaderSize || string(data[:len(cardMagic)]) != cardMagic {
		return nil, fmt.Errorf("%w: it does not begin with %q: it is no card", ErrCard, cardMagic)
	}
	if version := data[len(cardMagic)]; version != cardVersion {
		return nil, fmt.Errorf("%w: version %d: this is version %d: upgrade the older side", ErrCard, version, cardVersion)
	}
	r := cardReader{rest: data[cardHeaderSize:]}
	c := &card{statement: r.sized(maxCardSize)}
	for range r.count(keys.MaxChain) {
		c.certs = append(c.certs, r.sized(maxCardCert))
	}
	c.signature = r.sized(maxCardSig)
	r.end("the signature")
	if r.err == nil {
		r.rest = c.statement
		c.id = string(r.sized(maxCardID))
		c.issued, c.expires = r.time(), r.time()
		for range r.count(maxCardKeys) {
			c.keys = append(c.keys, r.take(boxKeySize))
		}
		r.end("the statement")
	}
	if r.err != nil {
		return nil, r.err
	}
	if _, err := keys.ParseID(c.id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	if c.issued >= c.expires || c.expires-c.issued > int64(maxCardLifetime/time.Second) {
		return nil, fmt.Errorf("%w: it must last above 0 and at most %v", ErrCard, maxCardLifetime)
	}
	return c, nil
}

// cardReader takes parts off the front, and nothing more after the first error.
type cardReader struct {
	rest []byte
	err  error
}

func (r *cardReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCard, fmt.Sprintf(format, args...))
	}
	r.rest = nil
}

func (r *cardReader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail("truncated")
		return nil
	}
	part := r.rest[:n:n]
	r.rest = r.rest[n:]
	return part
}

// sized takes a part that its length precedes: at least one byte.
func (r *cardReader) sized(most int) []byte {
	size := r.take(cardLengthSize)
	if size == nil {
		return nil
	}
	n := int(binary.BigEndian.Uint16(size))
	if n == 0 || n > most {
		r.fail("a part of %d bytes: want 1 to %d", n, most)
		return nil
	}
	return r.take(n)
}

// count takes how many parts follow: at least one.
func (r *cardReader) count(most int) int {
	b := r.take(cardCountSize)
	if b == nil {
		return 0
	}
	n := int(b[0])
	if n == 0 || n > most {
		r.fail("%d parts: want 1 to %d", n, most)
		return 0
	}
	return n
}

// time takes a Unix time in seconds, of the years 1970 to 9999.
func (r *cardReader) time() int64 {
	const most = 253402300799
	b := r.take(cardTimeSize)
	if b == nil {
		return 0
	}
	t := binary.BigEndian.Uint64(b)
	if t > most {
		r.fail("a time beyond the year 9999")
		return 0
	}
	return int64(t)
}

func (r *cardReader) end(of string) {
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d bytes too many after %s", len(r.rest), of)
	}
}
