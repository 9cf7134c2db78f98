package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/nacl/box"
)

// forger is a recipient who writes its own tools after spec/envelope.md. It knows what
// every recipient knows of an epoch: the key that opens all of its messages, and so
// seals others.
type forger struct {
	id  string
	key *ecdh.PrivateKey
}

func newForger(id *identity.Identity) (*forger, error) {
	keys := id.BoxKeys()
	if len(keys) == 0 {
		return nil, identity.ErrClosed
	}
	return &forger{id.ID(), keys[0]}, nil
}

// forge opens an envelope without clear headers, changes what is inside, and seals it
// again in the same epoch, as a message that has not been seen yet. The tag for the
// forger's own key is good. Those for others are guessed.
func (f *forger) forge(seen []byte, topic string, change func(plain []byte) []byte) ([]byte, error) {
	const (
		nonceAt  = flagsAt + 1 + 32 // after the epoch ID
		prefixed = 52
		tagged   = 16
		ahead    = 1000
	)
	e, err := envelope.Parse(seen)
	if err != nil {
		return nil, err
	}
	h, err := envelope.ParseHeader(e.Header)
	if err != nil {
		return nil, err
	}
	aead, tagKey, mine, err := f.keys(e, h)
	if err != nil {
		return nil, err
	}
	prefix, rest := slices.Clone(seen[:prefixed]), seen[prefixed:]
	var parts [3][]byte // header, grants, ciphertext
	for i := range parts {
		parts[i], rest = sized(rest)
	}
	plain, err := aead.Open(nil, prefix[nonceAt:][:12], parts[2], associated(prefix, topic))
	if err != nil {
		return nil, err
	}

	binary.BigEndian.PutUint32(prefix[nonceAt:], e.Counter+ahead)
	rand.Read(prefix[nonceAt+4:][:8]) // it never fails
	bound := associated(prefix, topic)
	ciphertext := aead.Seal(nil, prefix[nonceAt:][:12], change(plain), bound)
	digest := sha256.New()
	digest.Write(binary.BigEndian.AppendUint64(nil, uint64(len(bound))))
	digest.Write(bound)
	digest.Write(ciphertext)
	tag := hmac.New(sha256.New, tagKey)
	tag.Write(digest.Sum(nil))

	forged := prefix
	for _, part := range [][]byte{parts[0], parts[1], ciphertext} {
		forged = append(binary.AppendUvarint(forged, uint64(len(part))), part...)
	}
	proof := make([]byte, len(h.KeyIDs)*tagged)
	rand.Read(proof)
	copy(proof[mine*tagged:][:tagged], tag.Sum(nil))
	return append(forged, proof...), nil
}

// keys unwraps the forger's grant. It returns the cipher of the epoch, the key of the
// tags that are for the forger, and which of the recipient keys is the forger's.
func (f *forger) keys(e *envelope.Envelope, h *envelope.Header) (cipher.AEAD, []byte, int, error) {
	own := f.key.PublicKey().Bytes()
	keyID := sha256.Sum256(append([]byte("signet/envelope/v1 key id\x00"), own...))
	mine := slices.IndexFunc(h.KeyIDs, func(id []byte) bool { return bytes.Equal(id, keyID[:8]) })
	if mine < 0 {
		return nil, nil, 0, errors.New("the envelope is for others")
	}
	var ephemeral, static [32]byte
	box.Precompute(&ephemeral, (*[32]byte)(h.Ephemeral), (*[32]byte)(f.key.Bytes()))
	box.Precompute(&static, (*[32]byte)(h.SenderKey), (*[32]byte)(f.key.Bytes()))
	header := sha256.Sum256(e.Header)
	toMe := string(own) + f.id

	wrap, err := derive(slices.Concat(ephemeral[:], static[:]), nil, "wrap", string(header[:])+toMe)
	if err != nil {
		return nil, nil, 0, err
	}
	secret, ok := box.OpenAfterPrecomputation(nil, e.Grants[mine*48:][:48], new([24]byte), (*[32]byte)(wrap))
	if !ok {
		return nil, nil, 0, errors.New("the grant does not open")
	}
	payload, err := derive(secret, e.Epoch[:], "payload", "")
	if err != nil {
		return nil, nil, 0, err
	}
	tag, err := derive(static[:], e.Epoch[:], "tag", toMe)
	if err != nil {
		return nil, nil, 0, err
	}
	if e.Suite == envelope.ChaCha20Poly1305 {
		aead, err := chacha20poly1305.New(payload)
		return aead, tag, mine, err
	}
	block, err := aes.NewCipher(payload)
	if err != nil {
		return nil, nil, 0, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, tag, mine, err
}

func derive(secret, salt []byte, label, info string) ([]byte, error) {
	return hkdf.Key(sha256.New, secret, salt, "signet/envelope/v1 "+label+"\x00"+info, 32)
}

// flagsAt is where an envelope has its flags: after magic, version and suite.
const flagsAt = 6

func associated(prefix []byte, topic string) []byte {
	bound := append(binary.AppendUvarint(slices.Clone(prefix), uint64(len(topic))), topic...)
	bound[flagsAt] = 0 // whether the epoch comes along is not bound
	return bound
}

// sized takes a part that its length precedes, of an envelope that was parsed.
func sized(b []byte) (part, rest []byte) {
	n, size := binary.Uvarint(b)
	return b[size:][:n], b[size:][n:]
}
