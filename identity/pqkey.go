package identity

import (
	"errors"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
)

// PQKeySize is the size of a post-quantum box key, the public half, in bytes: that of
// KEM MLKEM768-X25519, also known as X-Wing (crypto/hpke, draft-ietf-hpke-pq).
const PQKeySize = keys.PQPublicKeySize

var errLowOrderPQ = errors.New("identity: the X25519 half of a post-quantum box key is of low order: nobody can seal to it")

var errNotReduced = errors.New("identity: the ML-KEM-768 half of a post-quantum box key is none: a coefficient is not reduced")

// CheckPQKey refuses what is no post-quantum box key of 1216 bytes: another size, an
// ML-KEM-768 half with a coefficient that is not reduced (the modulus check of FIPS
// 203, section 7.2), and an X25519 half of low order (RFC 7748, section 6.1), to which
// every attempt to seal would fail. The first two are what NewPublicKey of crypto/hpke
// refuses, the last what it does not. So nobody's key can stop a message that goes to
// others as well.
//
// That is all there is to see. A key that somebody has made up passes, and so does one
// whose private half nobody holds, or everybody: whose it is, a signed card or record
// says.
func CheckPQKey(raw []byte) error {
	if len(raw) != PQKeySize {
		return fmt.Errorf("identity: a post-quantum box key of %d bytes: MLKEM768-X25519 keys have %d", len(raw), PQKeySize)
	}
	if !reduced(raw[:mlkemVectorSize]) {
		return errNotReduced
	}
	if lowOrder(raw[PQKeySize-boxKeySize:]) {
		return errLowOrderPQ
	}
	return nil
}

// An ML-KEM-768 encapsulation key is a vector of 3 polynomials of 256 coefficients
// below the modulus, 12 bits each, and then a seed of 32 bytes that may be anything
// (FIPS 203, sections 5.1 and 8).
const (
	mlkemVectorSize = 3 * 256 * 12 / 8
	mlkemModulus    = 3329
)

// reduced is the modulus check. To parse the key would do it too, and expand the seed
// besides, which costs sixty times as much; whoever reads a registry of many nodes
// would pay it for each.
func reduced(vector []byte) bool {
	for i := 0; i < len(vector); i += 3 { // two coefficients, little-endian
		first := uint(vector[i]) | uint(vector[i+1]&0x0f)<<8
		second := uint(vector[i+1])>>4 | uint(vector[i+2])<<4
		if first >= mlkemModulus || second >= mlkemModulus {
			return false
		}
	}
	return true
}
