package identity

import (
	"crypto/hpke"
	"errors"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
)

// PQKeySize is the size of a post-quantum box key, the public half, in bytes: that of
// KEM MLKEM768-X25519, also known as X-Wing (crypto/hpke, draft-ietf-hpke-pq).
const PQKeySize = keys.PQPublicKeySize

var errLowOrderPQ = errors.New("identity: the X25519 half of a post-quantum box key is of low order: nobody can seal to it")

// CheckPQKey refuses what is no post-quantum box key of 1216 bytes: another size, an
// ML-KEM-768 half with a coefficient that is not reduced (the modulus check of FIPS
// 203, section 7.2), and an X25519 half of low order, with which every attempt to
// seal would fail. That is all there is to see: a key that somebody has made up passes,
// and so does one whose private half nobody holds, or everybody. Whose it is, a signed
// card or record says.
//
// It takes some 20 µs, so check a key once, where it comes in.
func CheckPQKey(raw []byte) error {
	if len(raw) != PQKeySize {
		return fmt.Errorf("identity: a post-quantum box key of %d bytes: MLKEM768-X25519 keys have %d", len(raw), PQKeySize)
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(raw); err != nil {
		return errors.New("identity: a post-quantum box key whose ML-KEM-768 half is none: a coefficient is not reduced")
	}
	if lowOrder(raw[PQKeySize-boxKeySize:]) {
		return errLowOrderPQ
	}
	return nil
}
