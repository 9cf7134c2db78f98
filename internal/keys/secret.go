package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"io"
)

// Bounds on RSA keys: below the first they are weak, above the second a peer
// could make a verification cost seconds.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// Signer is a private key that signs and does nothing else: it cannot be printed,
// encoded or asked for its parts. The key sits in a closure because package fmt
// calls no methods on values in unexported fields, and would print what it finds
// there: an Ed25519 key is a byte slice, and a verb that does not fit makes it
// follow pointers too.
type Signer struct{ key func() crypto.Signer }

func hide(key crypto.Signer) Signer { return Signer{func() crypto.Signer { return key }} }

// NewSigner wraps a key of one of the kinds a leaf may have.
func NewSigner(key crypto.Signer) (Signer, error) {
	if s, ok := key.(Signer); ok {
		return s, nil
	}
	if err := checkPublic(key.Public(), true); err != nil {
		return Signer{}, err
	}
	return hide(key), nil
}

// Public implements crypto.Signer.
func (s Signer) Public() crypto.PublicKey { return s.key().Public() }

// Sign implements crypto.Signer.
func (s Signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key().Sign(rand, digest, opts)
}

// Format keeps the key out of whatever is printed, with any verb.
func (s Signer) Format(f fmt.State, _ rune) { io.WriteString(f, "private key (not shown)") }

// MarshalText keeps the key out of JSON, XML and structured logs.
func (s Signer) MarshalText() ([]byte, error) { return []byte("private key (not shown)"), nil }

// checkPublic decides which keys may stand in a certificate. A leaf's key makes
// signatures of our own, so its kinds are few; a CA's is only ever handed to
// crypto/x509.
func checkPublic(key crypto.PublicKey, leaf bool) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if leaf && key.Curve != elliptic.P256() {
			return fmt.Errorf("%s key: use P-256, Ed25519 or RSA", key.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return fmt.Errorf("RSA key of %d bits: use %d to %d, or P-256", bits, MinRSABits, MaxRSABits)
		}
	default:
		return fmt.Errorf("key of kind %T: use P-256, Ed25519 or RSA", key)
	}
	return nil
}
