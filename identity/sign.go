package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
)

// The signed bytes are those of a TLS 1.3 CertificateVerify (RFC 8446, section
// 4.4.3) with contexts of our own, so that no signature made for one purpose can
// be taken for another:
//
//	64 × 0x20 ‖ "signet/" what "/v1" ‖ 0x00 ‖ for each field: its length (8 bytes, big-endian) ‖ field
const (
	signPad       = 64
	signPrefix    = "signet/"
	signSuffix    = "/v1"
	fieldLenSize  = 8
	maxSignWhat   = 64
	maxSignFields = 1 << 10
	maxSignBytes  = 16 << 20
)

var pss = rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// Sign signs fields with the leaf's key, for one purpose: what is 1 to 64 of
// [a-z0-9-], such as "card". P-256 keys make ASN.1 ECDSA signatures over SHA-256,
// Ed25519 keys pure Ed25519 (RFC 8032), RSA keys PSS over SHA-256 with a salt of 32
// bytes. The fields may hold 16 MiB in all.
func (id *Identity) Sign(what string, fields ...[]byte) ([]byte, error) {
	now, err := id.usable()
	if err != nil {
		return nil, err
	}
	return now.sign(what, fields...)
}

func (s *state) sign(what string, fields ...[]byte) ([]byte, error) {
	message, err := signedBytes(what, fields)
	if err != nil {
		return nil, err
	}
	var opts crypto.SignerOpts = crypto.SHA256
	switch s.set.Leaf().PublicKey.(type) {
	case ed25519.PublicKey:
		opts = crypto.Hash(0)
	case *rsa.PublicKey:
		message, opts = digest(message), &pss
	default:
		message = digest(message)
	}
	sig, err := s.set.Key.Sign(rand.Reader, message, opts)
	if err != nil {
		return nil, fmt.Errorf("identity: sign: %w", err)
	}
	return sig, nil
}

// VerifySignature checks what Sign made, against the key in leaf. The error is
// ErrSignature and says no more. It says nothing of whether leaf is to be trusted:
// have Identity.Verify decide that, first or after.
func VerifySignature(leaf *x509.Certificate, what string, sig []byte, fields ...[]byte) error {
	message, err := signedBytes(what, fields)
	if err != nil {
		return err
	}
	if leaf == nil {
		return ErrSignature
	}
	ok := false
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		ok = key.Curve == elliptic.P256() && ecdsa.VerifyASN1(key, digest(message), sig)
	case ed25519.PublicKey:
		ok = len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, sig)
	case *rsa.PublicKey:
		ok = key.N.BitLen() <= keys.MaxRSABits && rsa.VerifyPSS(key, crypto.SHA256, digest(message), sig, &pss) == nil
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func signedBytes(what string, fields [][]byte) ([]byte, error) {
	if !validWhat(what) {
		return nil, fmt.Errorf("identity: sign: %q is no purpose: want 1 to %d of a-z, 0-9 and hyphen", what, maxSignWhat)
	}
	size := signPad + len(signPrefix) + len(what) + len(signSuffix) + 1
	for _, field := range fields {
		size += fieldLenSize + len(field)
	}
	if len(fields) > maxSignFields || size > maxSignBytes {
		return nil, fmt.Errorf("identity: sign: %d bytes in %d fields: at most %d in %d", size, len(fields), maxSignBytes, maxSignFields)
	}
	message := make([]byte, 0, size)
	message = append(message, bytes.Repeat([]byte{0x20}, signPad)...)
	message = append(message, signPrefix...)
	message = append(message, what...)
	message = append(message, signSuffix...)
	message = append(message, 0)
	for _, field := range fields {
		message = binary.BigEndian.AppendUint64(message, uint64(len(field)))
		message = append(message, field...)
	}
	return message, nil
}

func validWhat(what string) bool {
	if what == "" || len(what) > maxSignWhat {
		return false
	}
	for i := range len(what) {
		if c := what[i]; !('a' <= c && c <= 'z') && !('0' <= c && c <= '9') && c != '-' {
			return false
		}
	}
	return true
}

func digest(message []byte) []byte {
	sum := sha256.Sum256(message)
	return sum[:]
}
