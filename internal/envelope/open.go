package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/hpke"
	"fmt"
	"slices"

	"golang.org/x/crypto/nacl/box"
)

// OwnKey is one of our own box keys.
type OwnKey struct {
	X25519 *ecdh.PrivateKey
	PQ     hpke.PrivateKey // MLKEM768-X25519; nil refuses the post-quantum suites
}

// Reader opens the messages of one epoch, with one of our keys. It is safe for
// concurrent use.
type Reader struct {
	Header *Header // of KeyIDs it has ours only
	id     [EpochIDSize]byte
	grant  []byte // ours
	index  int    // of our key
	count  int    // of recipients' keys
	aead   cipher.AEAD
	proofs proofs

	exporter key
}

// maxTries is how many grants are tried with one key. Key ids are short, so that two
// recipients may have the same; who repeats ours a thousand times wants us to compute.
const maxTries = 2

// Unwrap makes a reader of the epoch that an envelope brings inline. h is its parsed
// header, ownID our SPIFFE ID. The error is ErrNotRecipient if the epoch has no grant
// for one of the keys, and ErrTampered if it has one that does not verify.
//
// It costs two agreements, and a decapsulation in the post-quantum suites: ask first
// whether the sender may write to the topic, and whether h.SenderKey is the sender's.
func Unwrap(e *Envelope, h *Header, ownID string, own ...OwnKey) (*Reader, error) {
	if e.Header == nil {
		return nil, fmt.Errorf("%w: the epoch is not inline", ErrNotRecipient)
	}
	if h.Suite != e.Suite || !bytes.Equal(h.raw, e.Header) || len(e.Grants) != len(h.KeyIDs)*h.Suite.grantSize() {
		return nil, fmt.Errorf("%w: envelope and epoch do not belong together", ErrMalformed)
	}
	err := ErrNotRecipient
	for _, k := range own {
		ours, ok := k.id(h.Suite)
		if !ok {
			continue
		}
		tries := 0
		for i, id := range h.KeyIDs {
			if !bytes.Equal(id, ours) {
				continue
			}
			if tries++; tries > maxTries {
				break
			}
			var r *Reader
			if r, err = unwrap(e, h, i, ownID, k); err == nil {
				return r, nil
			}
		}
	}
	return nil, err
}

// Addressed reports whether an epoch seems to have a grant for one of our keys, without
// any public-key operation.
func (h *Header) Addressed(own ...OwnKey) bool {
	for _, k := range own {
		if ours, ok := k.id(h.Suite); ok && slices.ContainsFunc(h.KeyIDs, func(id []byte) bool { return bytes.Equal(id, ours) }) {
			return true
		}
	}
	return false
}

// id names our key in a header of a suite, if the suite can use it.
func (k OwnKey) id(s Suite) (id []byte, ok bool) {
	switch {
	case !s.PQ():
		return keyID(k.X25519.PublicKey(), nil), true
	case k.PQ == nil:
		return nil, false
	}
	return keyID(k.X25519.PublicKey(), k.PQ.PublicKey().Bytes()), true
}

func unwrap(e *Envelope, h *Header, index int, ownID string, own OwnKey) (*Reader, error) {
	var shared pair
	var err error
	if shared.ephemeral, err = agree(own.X25519, h.Ephemeral); err != nil {
		return nil, err
	}
	if shared.static, err = agree(own.X25519, h.SenderKey); err != nil {
		return nil, err
	}
	size := h.Suite.grantSize()
	grant := e.Grants[index*size:][:size]
	wrapped := grant[size-wrappedSize:]
	if h.Suite.PQ() {
		if shared.pq, err = decapsulate(e.Header, grant[:encapsulationSize], ownID, own); err != nil {
			return nil, err
		}
	}
	wrap, err := shared.wrapKey(e.Header, ownID, own.X25519.PublicKey())
	if err != nil {
		return nil, err
	}
	opened, ok := box.OpenAfterPrecomputation(nil, wrapped, new([24]byte), &wrap)
	if !ok || len(opened) != keySize {
		return nil, fmt.Errorf("%w: the grant", ErrTampered)
	}
	secret := key(opened)
	id, err := epochID(secret, e.Header)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(id[:], e.Epoch[:]) {
		return nil, fmt.Errorf("%w: the epoch's id", ErrTampered)
	}
	r := &Reader{id: id, index: index, count: len(h.KeyIDs), grant: bytes.Clone(grant)}
	if r.Header, err = ParseHeader(bytes.Clone(e.Header)); err != nil { // which outlives the envelope
		return nil, err
	}
	r.Header.KeyIDs = [][]byte{r.Header.KeyIDs[index]} // those of others only take room
	if r.aead, err = payloads(h.Suite, secret, id); err != nil {
		return nil, err
	}
	if r.exporter, err = derive(secret[:], id[:], []byte(labelExport)); err != nil {
		return nil, err
	}
	if h.Mode == Tagged {
		tag, err := shared.tagKey(id, ownID, own.X25519.PublicKey())
		if err != nil {
			return nil, err
		}
		r.proofs.add(tag)
	}
	return r, nil
}

func agree(own *ecdh.PrivateKey, public []byte) (key, error) {
	p, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return precompute(own, p)
}

// Uses reports whether one of some keys is the one that the epoch was unwrapped with.
func (r *Reader) Uses(own ...OwnKey) bool {
	return r.Header.Addressed(own...)
}

// Open opens a message of the reader's epoch into dst, which it appends to; dst may be
// e.Room. topic is the one that it came on, and outside has the values of its clear
// headers, perhaps among others. verify checks the signature of an epoch in mode Signed,
// over 32 bytes; it is not called otherwise.
//
// What it opens may have been opened before: see Replay.
func (r *Reader) Open(dst []byte, e *Envelope, topic string, outside map[string]string, verify func(digest, signature []byte) bool) (Opened, error) {
	switch {
	case e.Epoch != r.id || e.Suite != r.Header.Suite || !r.again(e):
		return Opened{}, errOtherEpoch
	case e.Counter >= r.Header.Most:
		return Opened{}, r.overMost(e.Counter)
	case len(topic) > MaxTopic:
		return Opened{}, errTopic
	}
	start := len(dst)
	out, err := r.open(dst, e, topic, outside, verify)
	if err != nil {
		return Opened{}, err
	}
	return parsePlaintext(out[start:])
}

// Errors of Open. They are made here, and what formats others is not inlined: calls run on
// new goroutines, whose stacks are small, and a frame that has no room for errors is
// spared its growth.
var (
	errOtherEpoch = fmt.Errorf("%w: of another epoch", ErrTampered)
	errTopic      = fmt.Errorf("%w: the topic", ErrTampered)
	errMessage    = fmt.Errorf("%w: the message, its topic or its clear headers", ErrTampered)
	errOutside    = fmt.Errorf("%w: a clear header is missing, or too large", ErrTampered)
)

//go:noinline
func (r *Reader) overMost(counter uint32) error {
	return fmt.Errorf("%w: message %d of %d", ErrLimit, counter, r.Header.Most)
}

// open checks the proof and decrypts.
func (r *Reader) open(dst []byte, e *Envelope, topic string, outside map[string]string, verify func(digest, signature []byte) bool) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.begin(e.prefix, topic)
	if len(e.names) > 0 {
		if err := s.bindOutside(e, outside); err != nil {
			return nil, err
		}
	}
	var digest []byte
	if r.Header.Mode != Pairwise {
		digest = s.digest(e.ciphertext) // which may be written over
	}
	// A signature costs more than the cipher, which those fail at who do not know the key.
	late := r.Header.Mode == Signed
	if !late {
		if err := r.proved(e, digest, nil); err != nil {
			return nil, err
		}
	}
	out, err := r.aead.Open(dst, e.nonce, e.ciphertext, s.bound)
	if err != nil {
		return nil, errMessage
	}
	if late {
		err = r.proved(e, digest, verify)
	}
	return out, err
}

// bindOutside puts the values of clear headers into the associated data.
//
//go:noinline
func (s *scratch) bindOutside(e *Envelope, outside map[string]string) error {
	outer := 0
	for name := range e.ClearNames() {
		value, ok := outside[string(name)]
		if !ok || len(value) > MaxClearValues-outer {
			return errOutside
		}
		outer += len(value)
		s.bound = appendSized(s.bound, value)
	}
	return nil
}

// again reports whether an epoch that comes again is the one we know, in all that is
// ours to compare. What others were granted is theirs.
func (r *Reader) again(e *Envelope) bool {
	if e.Header == nil {
		return true
	}
	size := len(r.grant)
	return bytes.Equal(e.Header, r.Header.raw) && len(e.Grants) == r.count*size &&
		bytes.Equal(e.Grants[r.index*size:][:size], r.grant)
}

// proved checks the proof of the sender, over a digest.
//
//go:noinline
func (r *Reader) proved(e *Envelope, digest []byte, verify func(digest, signature []byte) bool) error {
	switch r.Header.Mode {
	case Pairwise:
		if len(e.Proof) != 0 {
			return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(e.Proof))
		}
		return nil
	case Tagged:
		if len(e.Proof) != r.count*tagSize {
			return fmt.Errorf("%w: %d bytes of tags", ErrMalformed, len(e.Proof))
		}
		if !r.proofs.verify(e.Proof[r.index*tagSize:][:tagSize], digest) {
			return fmt.Errorf("%w: the sender's tag", ErrTampered)
		}
		return nil
	}
	proof := reader{rest: e.Proof}
	signature := proof.sized(MaxSignature)
	if proof.end(); proof.err != nil {
		return proof.err
	}
	if verify == nil || !verify(digest, signature) {
		return fmt.Errorf("%w: the sender's signature", ErrTampered)
	}
	return nil
}
