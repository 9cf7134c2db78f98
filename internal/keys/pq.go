package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Sizes of a post-quantum box key, in bytes: X-Wing, which HPKE names
// MLKEM768-X25519 (draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq).
const (
	PQPublicKeySize = 1216 // an ML-KEM-768 encapsulation key, then an X25519 key
	pqSeedSize      = 32
)

// pqHeader precedes the seed in the PKCS#8 form of an X-Wing key, which ends with it:
// version 0, the algorithm id-XWing (1.3.6.1.4.1.62253.25722) without parameters, and
// the seed as an OCTET STRING, not wrapped in another. That is the ASN.1 module and
// the sample of draft-connolly-cfrg-xwing-kem, which crypto/x509 does not know. The
// draft has no other form, so there is exactly one encoding of each key.
const pqHeader = "\x30\x34\x02\x01\x00\x30\x0d\x06\x0b\x2b\x06\x01\x04\x01\x83\xe6\x2d\x81\xc8\x7a\x04\x20"

// NewPQKey makes a post-quantum box key, of randomness of its own: derived from the
// X25519 key, it would fall with it.
func NewPQKey() (hpke.PrivateKey, error) { return hpke.MLKEM768X25519().GenerateKey() }

// ParsePQKey reads one X-Wing key in PKCS#8.
func ParsePQKey(data []byte) (hpke.PrivateKey, error) {
	block, err := oneBlock(data, pemPKCS8)
	if err != nil {
		return nil, err
	}
	seed, ok := bytes.CutPrefix(block.Bytes, []byte(pqHeader))
	switch {
	case ok && len(seed) == pqSeedSize:
	case ok:
		return nil, fmt.Errorf("%w: the key inside is truncated, or too long", ErrPEM)
	default:
		return nil, notPQ(block.Bytes)
	}
	key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("%w: the key inside does not parse", ErrPEM)
	}
	return key, nil
}

// notPQ says what is there instead of a post-quantum key.
func notPQ(der []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("%w: the key inside does not parse: a post-quantum box key is X-Wing (MLKEM768-X25519)", ErrPEM)
	}
	if box, ok := key.(*ecdh.PrivateKey); ok && box.Curve() == ecdh.X25519() {
		return fmt.Errorf("%w: an X25519 key: it belongs in %s; a post-quantum box key is X-Wing (MLKEM768-X25519)", ErrPEM, BoxKeyFile)
	}
	return fmt.Errorf("%w: a key of kind %T: a post-quantum box key is X-Wing (MLKEM768-X25519)", ErrPEM, key)
}

// EncodePQKey writes a post-quantum box key as PKCS#8.
func EncodePQKey(key hpke.PrivateKey) ([]byte, error) {
	seed, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	if key.KEM().ID() != hpke.MLKEM768X25519().ID() || len(seed) != pqSeedSize {
		return nil, errors.New("a post-quantum box key is X-Wing (MLKEM768-X25519), and has its seed")
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: append([]byte(pqHeader), seed...)}), nil
}
