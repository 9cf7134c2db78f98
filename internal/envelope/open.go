package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"fmt"

	"golang.org/x/crypto/nacl/box"
)

// Reader opens the messages of one epoch, with one of our keys. It is safe for
// concurrent use.
type Reader struct {
	Header *Header
	id     [EpochIDSize]byte
	index  int // of our key
	aead   cipher.AEAD
	proofs proofs
}

// Unwrap makes a reader of the epoch that an envelope brings inline. ownID is our
// SPIFFE ID. The error is ErrNotRecipient if the epoch has no grant for the key, and
// ErrTampered if it has one that does not verify.
//
// It costs two agreements: ask first whether the sender may write to the topic, and
// whether Header.SenderKey is the sender's.
func Unwrap(e *Envelope, ownID string, own *ecdh.PrivateKey) (*Reader, error) {
	if e.Header == nil {
		return nil, fmt.Errorf("%w: the epoch is not inline", ErrNotRecipient)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		return nil, err
	}
	if h.Suite != e.Suite || len(e.Grants) != len(h.KeyIDs)*grantSize {
		return nil, fmt.Errorf("%w: envelope and epoch do not belong together", ErrMalformed)
	}
	ours := KeyID(own.PublicKey())
	err = ErrNotRecipient
	for i, id := range h.KeyIDs {
		if !bytes.Equal(id, ours) {
			continue
		}
		var r *Reader
		if r, err = unwrap(e, h, i, ownID, own); err == nil {
			return r, nil
		}
	}
	return nil, err
}

func unwrap(e *Envelope, h *Header, index int, ownID string, own *ecdh.PrivateKey) (*Reader, error) {
	var shared pair
	var err error
	if shared.ephemeral, err = agree(own, h.Ephemeral); err != nil {
		return nil, err
	}
	if shared.static, err = agree(own, h.SenderKey); err != nil {
		return nil, err
	}
	wrap, err := shared.wrapKey(e.Header, ownID, own.PublicKey())
	if err != nil {
		return nil, err
	}
	opened, ok := box.OpenAfterPrecomputation(nil, e.Grants[index*grantSize:][:grantSize], new([24]byte), &wrap)
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
	r := &Reader{Header: h, id: id, index: index}
	if r.aead, err = payloads(h.Suite, secret, id); err != nil {
		return nil, err
	}
	if h.Mode == Tagged {
		tag, err := shared.tagKey(id, ownID, own.PublicKey())
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

// Open opens a message of the reader's epoch into dst, which it appends to. topic is
// the one that it came on, clear has the values of e.ClearNames, in their order.
// verify checks the signature of an epoch in mode Signed, over 32 bytes; it is not
// called otherwise.
//
// What it opens may have been opened before: see Replay.
func (r *Reader) Open(dst []byte, e *Envelope, topic string, clear []Field, verify func(digest, signature []byte) bool) (Opened, error) {
	if e.Epoch != r.id || e.Suite != r.Header.Suite {
		return Opened{}, fmt.Errorf("%w: of another epoch", ErrTampered)
	}
	if e.Counter >= r.Header.Most {
		return Opened{}, fmt.Errorf("%w: message %d of %d", ErrLimit, e.Counter, r.Header.Most)
	}
	if len(topic) > MaxTopic || len(clear) != len(e.ClearNames) {
		return Opened{}, fmt.Errorf("%w: clear headers or topic", ErrTampered)
	}
	for i, f := range clear {
		if f.Name != e.ClearNames[i] {
			return Opened{}, fmt.Errorf("%w: clear headers", ErrTampered)
		}
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.bind(e.prefix, topic, clear)
	if err := r.proved(e, s, verify); err != nil {
		return Opened{}, err
	}
	start := len(dst)
	out, err := r.aead.Open(dst, e.nonce, e.ciphertext, s.bound)
	if err != nil {
		return Opened{}, fmt.Errorf("%w: the message, its topic or its clear headers", ErrTampered)
	}
	return parsePlaintext(out[start:])
}

// proved checks the proof of the sender, before anything is decrypted.
func (r *Reader) proved(e *Envelope, s *scratch, verify func(digest, signature []byte) bool) error {
	switch r.Header.Mode {
	case Pairwise:
		if len(e.Proof) != 0 {
			return fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(e.Proof))
		}
		return nil
	case Tagged:
		if len(e.Proof) != len(r.Header.KeyIDs)*tagSize {
			return fmt.Errorf("%w: %d bytes of tags", ErrMalformed, len(e.Proof))
		}
		if !r.proofs.verify(e.Proof[r.index*tagSize:][:tagSize], s.digest(e.ciphertext)) {
			return fmt.Errorf("%w: the sender's tag", ErrTampered)
		}
		return nil
	}
	proof := reader{rest: e.Proof}
	signature := proof.sized(MaxSignature)
	if proof.end(); proof.err != nil {
		return proof.err
	}
	if verify == nil || !verify(s.digest(e.ciphertext), signature) {
		return fmt.Errorf("%w: the sender's signature", ErrTampered)
	}
	return nil
}
