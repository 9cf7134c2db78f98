package envelope

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
)

// Layout, described in spec/envelope.md. Numbers marked v are unsigned LEB128 in
// their shortest form; all others are big-endian.
//
//	envelope: prefix ‖ [ length v ‖ header ‖ length v ‖ grants ] ‖ ciphertext length v ‖ ciphertext ‖ proof
//	prefix:   magic (4) ‖ version ‖ suite ‖ flags ‖ epoch id (32) ‖ counter (4) ‖ random (8) ‖
//	          clear header count ‖ { length v ‖ name }…
//	header:   version ‖ suite ‖ mode ‖ length v ‖ sender ID ‖ sender key (32) ‖ length v ‖ scope ‖
//	          created (8) ‖ not after (8) ‖ most (4) ‖ ephemeral key (32) ‖ count v ‖ { key id (8) }… ‖
//	          length v ‖ credential
//	grants:   { [ encapsulation (1120) ] ‖ sealed epoch key (48) } for each key id, in their order
//	proof:    nothing, { tag (16) } for each key id, or length v ‖ signature
const (
	magic     = "SGNE"
	version   = 1
	flagEpoch = 1 << 0 // header and grants are there
	flagsAt   = len(magic) + 2

	EpochIDSize = 32
	RandomSize  = 8
	keySize     = 32
	keyIDSize   = 8
	wrappedSize = keySize + 16 // NaCl box adds 16 bytes
	tagSize     = 16
	counterSize = 4
	nonceSize   = counterSize + RandomSize
	overhead    = 16 // of both AEADs
	prefixSize  = len(magic) + 3 + EpochIDSize + nonceSize + 1

	encapsulationSize = 1120 // MLKEM768-X25519: 1088 and 32 bytes
)

// Limits, in bytes where nothing else is said.
const (
	MaxRecipients   = 1024     // recipient keys of an epoch
	MaxMessages     = 1 << 20  // messages of an epoch
	MaxSize         = 64 << 20 // of an envelope
	MaxName         = 520      // of a sender ID, and of a scope
	MaxTopic        = 1024     // of a topic
	MaxClearHeaders = 32       // headers that travel in clear as well
	MaxClearValues  = 64 << 10 // of their values together
	MaxHeaders      = 256      // headers of a message
	MaxHeaderName   = 255
	MaxSignature    = 1024
	MaxCredential   = 32 << 10 // of what introduces a sender
	maxHeader       = 128 + 2*MaxName + MaxRecipients*keyIDSize + MaxCredential
)

// Suite is how payloads are encrypted, and how their keys are agreed on. Senders take
// AES where the processor has instructions for it.
type Suite byte

// The suites. All wrap epoch keys with NaCl box; those with PQ mix in an encapsulation
// to the recipient's MLKEM768-X25519 key (crypto/hpke), so that what is recorded today
// stays closed to a quantum computer.
const (
	AES256GCM          Suite = 1 // NIST SP 800-38D
	ChaCha20Poly1305   Suite = 2 // RFC 8439
	PQAES256GCM        Suite = 3
	PQChaCha20Poly1305 Suite = 4
)

func (s Suite) known() bool { return s >= AES256GCM && s <= PQChaCha20Poly1305 }

// PQ reports whether the suite is a post-quantum one.
func (s Suite) PQ() bool { return s == PQAES256GCM || s == PQChaCha20Poly1305 }

// grantSize is the size of each grant.
func (s Suite) grantSize() int {
	if s.PQ() {
		return encapsulationSize + wrappedSize
	}
	return wrappedSize
}

// Mode is how the sender of a message is proved.
type Mode byte

// The modes.
const (
	// Pairwise: the epoch has one recipient key, so that its key is proof enough.
	Pairwise Mode = 0
	// Tagged: each recipient key has a tag of its own, which others cannot make.
	Tagged Mode = 1
	// Signed: by the sender's signing key, which the caller checks.
	Signed Mode = 2
)

// Envelope is a parsed message: well-formed, not verified. Its slices are parts of
// what was parsed.
type Envelope struct {
	Suite   Suite
	Epoch   [EpochIDSize]byte
	Counter uint32
	Header  []byte // of the epoch, nil if it is not inline
	Grants  []byte
	Proof   []byte

	prefix     []byte
	names      []byte // of clear headers
	nonce      []byte
	ciphertext []byte
}

// Parse reads an envelope strictly: there is one encoding of each, and nothing may
// follow it. It takes no memory but its result, and does not look into an inline
// epoch, which most receivers know.
func Parse(data []byte) (*Envelope, error) {
	e := new(Envelope) // on the stack of callers that do not keep it, as this is inlined
	if err := e.parse(data); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Envelope) parse(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%w: %d bytes: at most %d", ErrLimit, len(data), MaxSize)
	}
	if len(data) < prefixSize || !IsEnvelope(data) {
		return fmt.Errorf("%w: it does not begin as an envelope", ErrMalformed)
	}
	r := reader{rest: data[len(magic):]}
	v, suite, flags := r.byte(), Suite(r.byte()), r.byte()
	if v != version || !suite.known() {
		return fmt.Errorf("%w: version %d, suite %d", ErrSuite, v, suite)
	}
	if flags&^flagEpoch != 0 {
		return fmt.Errorf("%w: flags %#x", ErrMalformed, flags)
	}
	*e = Envelope{Suite: suite}
	copy(e.Epoch[:], r.take(EpochIDSize))
	e.nonce = r.take(nonceSize)
	e.Counter = binary.BigEndian.Uint32(e.nonce)
	e.names = clearNames(&r)
	e.prefix = data[: len(data)-len(r.rest) : len(data)-len(r.rest)]
	if flags&flagEpoch != 0 {
		e.Header = r.sized(maxHeader)
		e.Grants = r.sized(MaxRecipients * suite.grantSize())
	}
	e.ciphertext = r.sized(MaxSize)
	e.Proof = r.rest
	if r.err != nil {
		return r.err
	}
	if len(e.ciphertext) < overhead {
		return fmt.Errorf("%w: a ciphertext of %d bytes", ErrMalformed, len(e.ciphertext))
	}
	return nil
}

// PlainSize is how many bytes Open appends.
func (e *Envelope) PlainSize() int { return len(e.ciphertext) - overhead }

// Room is the memory of the ciphertext, for Open to write the plaintext over it: what was
// parsed must be the caller's own then, and cannot be opened again.
func (e *Envelope) Room() []byte { return e.ciphertext[:0] }

// IsEnvelope reports whether data begins as an envelope does.
func IsEnvelope(data []byte) bool {
	return len(data) >= len(magic) && string(data[:len(magic)]) == magic
}

// clearNames takes the names of clear headers, sorted, each once.
func clearNames(r *reader) []byte {
	n := int(r.byte())
	if n > MaxClearHeaders {
		r.fail(ErrLimit, "%d clear headers", n)
	}
	names, last := r.rest, []byte(nil)
	for i := 0; i < n && r.err == nil; i++ {
		name := r.sized(MaxHeaderName)
		if i > 0 && bytes.Compare(name, last) <= 0 {
			r.fail(ErrMalformed, "clear headers are not sorted")
		}
		last = name
	}
	return names[:len(names)-len(r.rest)]
}

// ClearNames returns the names of the headers whose values travel outside, sorted.
func (e *Envelope) ClearNames() iter.Seq[[]byte] {
	return func(yield func(name []byte) bool) {
		for r := (reader{rest: e.names}); len(r.rest) > 0; {
			if name := r.sized(MaxHeaderName); r.err != nil || !yield(name) {
				return
			}
		}
	}
}

// reader takes parts off the front, and nothing more after the first error.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(kind error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
	}
	r.rest = nil
}

var zeros [EpochIDSize]byte

// take returns n bytes; zeros after an error, so that callers may convert at once.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail(ErrMalformed, "truncated")
		return zeros[:min(n, len(zeros))]
	}
	part := r.rest[:n:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) byte() byte { return r.take(1)[0] }

// number takes a number in its shortest form.
func (r *reader) number(most int) int {
	v, n := binary.Uvarint(r.rest[:min(len(r.rest), binary.MaxVarintLen64)])
	switch {
	case r.err != nil:
		return 0
	case n <= 0, n > 1 && r.rest[n-1] == 0:
		r.fail(ErrMalformed, "a number is truncated, or not in its shortest form")
		return 0
	case v > uint64(most):
		r.fail(ErrLimit, "%d: at most %d", v, most)
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

// sized takes a part that its length precedes: at least one byte.
func (r *reader) sized(most int) []byte {
	n := r.number(most)
	if r.err == nil && n == 0 {
		r.fail(ErrMalformed, "an empty part")
	}
	return r.take(n)
}

func (r *reader) end() {
	if r.err == nil && len(r.rest) > 0 {
		r.fail(ErrMalformed, "%d bytes too many", len(r.rest))
	}
}

func appendSized[T string | []byte](out []byte, part T) []byte {
	return append(binary.AppendUvarint(out, uint64(len(part))), part...)
}
