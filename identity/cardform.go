package identity

import (
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
//	statement: ID length (2) ‖ ID ‖ issued (8) ‖ expires (8) ‖
//	           key count (1) ‖ { X25519 key (32) ‖ form (1) ‖ post-quantum key (1216) if the form says so }…
const (
	cardMagic       = "SGNC"
	cardVersion     = 1
	cardHeaderSize  = len(cardMagic) + 1
	cardLengthSize  = 2
	cardTimeSize    = 8
	cardCountSize   = 1
	cardFormSize    = 1
	cardPurpose     = "card"
	maxCardSize     = 32 << 10
	maxCardKeys     = 8
	maxCardID       = len("spiffe:///") + keys.MaxTrustDomain + keys.MaxService
	maxCardCert     = 16 << 10
	maxCardSig      = keys.MaxRSABits / 8
	maxCardLifetime = 90 * 24 * time.Hour
)

// Forms of a key on a card.
const (
	cardClassicKey = 0 // X25519 alone
	cardPairKey    = 1 // a post-quantum key follows
)

// card is a parsed card: well-formed, not verified.
type card struct {
	statement []byte // the bytes that are signed
	id        string
	issued    int64 // Unix time, seconds
	expires   int64
	keys      []cardKey
	certs     [][]byte // DER, leaf first
	signature []byte
}

// cardKey is a pair as it is on a card, not checked; pq is nil if there is none.
type cardKey struct{ x25519, pq []byte }

func (c *card) encodeStatement() []byte {
	out := appendSized(nil, []byte(c.id))
	out = binary.BigEndian.AppendUint64(out, uint64(c.issued))
	out = binary.BigEndian.AppendUint64(out, uint64(c.expires))
	out = append(out, byte(len(c.keys)))
	for _, key := range c.keys {
		out = append(out, key.x25519...)
		if key.pq == nil {
			out = append(out, cardClassicKey)
			continue
		}
		out = append(append(out, cardPairKey), key.pq...)
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
			c.keys = append(c.keys, r.key())
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

// key takes an X25519 key, and the post-quantum key that goes with it if there is one.
func (r *cardReader) key() cardKey {
	key := cardKey{x25519: r.take(boxKeySize)}
	form := r.take(cardFormSize)
	if form == nil {
		return cardKey{}
	}
	switch form[0] {
	case cardClassicKey:
	case cardPairKey:
		key.pq = r.take(PQKeySize)
	default:
		r.fail("a key of form %d: %d and %d are known: upgrade this side", form[0], cardClassicKey, cardPairKey)
	}
	return key
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
