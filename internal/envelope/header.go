package envelope

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Header says of an epoch what its messages have in common. It is part of the
// epoch's id, and so bound to each of its messages.
type Header struct {
	Suite     Suite
	Mode      Mode
	Sender    string // SPIFFE ID
	SenderKey []byte // X25519 public key: the caller decides whether it is Sender's
	Scope     string // the topics that it is for, in the caller's own terms
	Created   time.Time
	NotAfter  time.Time
	Most      uint32 // messages
	Ephemeral []byte // X25519 public key
	KeyIDs    [][]byte
	// Credential introduces the sender to those who do not know its key, in the
	// caller's own terms; empty if there is none.
	Credential []byte

	raw []byte
}

// keyID names a recipient's keys in a header: 8 bytes, so that it may by accident be
// another's. Grants tell.
func keyID(key *ecdh.PublicKey, pq []byte) []byte {
	named := append([]byte(labelKeyID), key.Bytes()...)
	sum := sha256.Sum256(append(named, pq...))
	return sum[:keyIDSize]
}

func (h *Header) encode() []byte {
	out := []byte{version, byte(h.Suite), byte(h.Mode)}
	out = appendSized(out, h.Sender)
	out = append(out, h.SenderKey...)
	out = appendSized(out, h.Scope)
	out = binary.BigEndian.AppendUint64(out, uint64(h.Created.Unix()))
	out = binary.BigEndian.AppendUint64(out, uint64(h.NotAfter.Unix()))
	out = binary.BigEndian.AppendUint32(out, h.Most)
	out = append(out, h.Ephemeral...)
	out = binary.AppendUvarint(out, uint64(len(h.KeyIDs)))
	for _, id := range h.KeyIDs {
		out = append(out, id...)
	}
	return appendSized(out, h.Credential)
}

// ParseHeader reads a header strictly. What it returns is part of data.
func ParseHeader(data []byte) (*Header, error) {
	if len(data) > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes: at most %d", ErrLimit, len(data), maxHeader)
	}
	r := reader{rest: data}
	v := r.byte()
	h := &Header{Suite: Suite(r.byte()), Mode: Mode(r.byte()), raw: data}
	if r.err == nil && (v != version || !h.Suite.known() || h.Mode > Signed) {
		return nil, fmt.Errorf("%w: version %d, suite %d, mode %d", ErrSuite, v, h.Suite, h.Mode)
	}
	h.Sender = string(r.sized(MaxName))
	h.SenderKey = r.take(keySize)
	h.Scope = string(r.sized(MaxName))
	h.Created, h.NotAfter = r.time(), r.time()
	h.Most = binary.BigEndian.Uint32(r.take(4))
	h.Ephemeral = r.take(keySize)
	n := r.number(MaxRecipients)
	for range n {
		if r.err != nil {
			break
		}
		h.KeyIDs = append(h.KeyIDs, r.take(keyIDSize))
	}
	h.Credential = r.take(r.number(MaxCredential))
	r.end()
	switch {
	case r.err != nil:
		return nil, r.err
	case n == 0:
		return nil, fmt.Errorf("%w: an epoch without recipients", ErrMalformed)
	case h.Mode == Pairwise && n != 1:
		return nil, fmt.Errorf("%w: %d recipient keys, and nothing proves the sender to them", ErrMalformed, n)
	case h.Most == 0 || h.Most > MaxMessages:
		return nil, fmt.Errorf("%w: an epoch of %d messages: want 1 to %d", ErrLimit, h.Most, MaxMessages)
	case !h.Created.Before(h.NotAfter):
		return nil, fmt.Errorf("%w: an epoch that ends before it begins", ErrMalformed)
	}
	return h, nil
}

// time takes a Unix time in seconds, of the years 1970 to 9999.
func (r *reader) time() time.Time {
	const most = 253402300799
	t := binary.BigEndian.Uint64(r.take(8))
	if t > most {
		r.fail(ErrMalformed, "a time beyond the year 9999")
		return time.Time{}
	}
	return time.Unix(int64(t), 0)
}
