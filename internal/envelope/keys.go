package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/box"
)

// What HKDF (RFC 5869, SHA-256) derives, by its info; and two labels of other uses.
const (
	labelWrap    = "signet/envelope/v1 wrap\x00"
	labelCommit  = "signet/envelope/v1 commit\x00"
	labelPayload = "signet/envelope/v1 payload\x00"
	labelTag     = "signet/envelope/v1 tag\x00"
	labelPQ      = "signet/envelope/v1 pq\x00"     // HPKE's info and exporter context
	labelKeyID   = "signet/envelope/v1 key id\x00" // before what SHA-256 digests
	labelExport  = "signet/envelope/v1 export\x00"
)

type key = [keySize]byte

// precompute is the agreement of two keys, as NaCl box has it. box itself accepts
// points of low order, whose agreement everybody knows.
func precompute(private *ecdh.PrivateKey, public *ecdh.PublicKey) (shared key, err error) {
	if private == nil || public == nil || private.Curve() != ecdh.X25519() || public.Curve() != ecdh.X25519() {
		return shared, fmt.Errorf("%w: want X25519 keys", ErrKey)
	}
	if _, err := private.ECDH(public); err != nil {
		return shared, fmt.Errorf("%w: it is of low order", ErrKey)
	}
	box.Precompute(&shared, (*key)(public.Bytes()), (*key)(private.Bytes()))
	return shared, nil
}

// pair are the agreements between a sender and a recipient: one of the epoch's
// ephemeral key, which limits what a stolen sender key reveals, one of the sender's
// own, which only the two can make, and one against quantum computers, in the suites
// that have it.
type pair struct {
	ephemeral, static key
	pq                []byte
}

// wrapKey wraps the epoch key for one recipient. The header names the sender's key
// and the recipient's follows, so the direction is part of it: what is sealed to one
// cannot be turned back on its sender.
func (p *pair) wrapKey(header []byte, recipientID string, recipient *ecdh.PublicKey) (key, error) {
	digest := sha256.Sum256(header)
	info := append([]byte(labelWrap), digest[:]...)
	info = append(info, recipient.Bytes()...)
	info = append(info, recipientID...)
	secret := append(p.ephemeral[:], p.static[:]...)
	return derive(append(secret, p.pq...), nil, info)
}

// tagKey authenticates the sender's messages to one recipient.
func (p *pair) tagKey(epoch [EpochIDSize]byte, recipientID string, recipient *ecdh.PublicKey) (key, error) {
	info := append([]byte(labelTag), recipient.Bytes()...)
	info = append(info, recipientID...)
	return derive(p.static[:], epoch[:], info)
}

// epochID commits to the header and to the epoch key.
func epochID(secret key, header []byte) (id [EpochIDSize]byte, err error) {
	commitment, err := derive(secret[:], nil, append([]byte(labelCommit), header...))
	if err != nil {
		return id, err
	}
	h := sha256.New()
	h.Write(header)
	h.Write(commitment[:])
	return [EpochIDSize]byte(h.Sum(nil)), nil
}

// payloads returns the cipher of an epoch's messages.
func payloads(suite Suite, secret key, epoch [EpochIDSize]byte) (cipher.AEAD, error) {
	k, err := derive(secret[:], epoch[:], []byte(labelPayload))
	if err != nil {
		return nil, err
	}
	return suite.AEAD(k)
}

// AEAD returns the cipher of the suite's payloads, with a key.
func (s Suite) AEAD(k [keySize]byte) (cipher.AEAD, error) {
	switch s {
	case AES256GCM, PQAES256GCM:
		block, err := aes.NewCipher(k[:])
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	case ChaCha20Poly1305, PQChaCha20Poly1305:
		return chacha20poly1305.New(k[:])
	}
	return nil, fmt.Errorf("%w: suite %d", ErrSuite, s)
}

func derive(secret, salt, info []byte) (k key, err error) {
	out, err := hkdf.Key(sha256.New, secret, salt, string(info), keySize)
	if err != nil {
		return k, fmt.Errorf("envelope: %w", err)
	}
	copy(k[:], out)
	return k, nil
}
