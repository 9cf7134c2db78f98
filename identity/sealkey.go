package identity

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/subtle"
	"fmt"
	"io"
	"slices"
	"time"
)

// SealKey is the pair of box keys that opens what was sealed to us: one for each
// suite. They are independent of each other, so that who breaks X25519 learns nothing
// of the other. It prints as nothing but that it is one, whatever the verb.
//
// WARNING: unlike the signing key these are bare keys. Do not print them, nor what
// holds a SealKey in an unexported field, where package fmt calls no methods. Do not
// change what PQ.Bytes returns, which is the key itself.
type SealKey struct {
	X25519 *ecdh.PrivateKey
	PQ     hpke.PrivateKey // MLKEM768-X25519
}

// SealPublicKey is a pair of public box keys.
type SealPublicKey struct {
	X25519 *ecdh.PublicKey
	PQ     []byte // MLKEM768-X25519, of PQKeySize bytes; nil if none is known
}

// Public returns the public halves. It encodes the post-quantum one anew each time.
func (k SealKey) Public() SealPublicKey {
	return SealPublicKey{X25519: k.X25519.PublicKey(), PQ: k.PQ.PublicKey().Bytes()}
}

const sealKeyText = "seal key (not shown)"

// Format keeps the keys out of whatever is printed, with any verb.
func (k SealKey) Format(f fmt.State, _ rune) { io.WriteString(f, sealKeyText) }

// MarshalText keeps the keys out of JSON, XML and structured logs.
func (k SealKey) MarshalText() ([]byte, error) { return []byte(sealKeyText), nil }

// equal compares in constant time.
func (k SealKey) equal(other SealKey) bool {
	a, errA := k.PQ.Bytes()
	b, errB := other.PQ.Bytes()
	return k.X25519.Equal(other.X25519) && errA == nil && errB == nil && subtle.ConstantTimeCompare(a, b) == 1
}

// SealKeys returns the pairs of keys that open what was sealed to us: the current
// one, and after it those that it has replaced, newest first, each for the grace
// period (see BoxKeyGrace). A pair is replaced when either half changes, so a key may
// be in several. State the first to peers. Nothing is returned after Close. It derives
// and encodes no key, and may be called for each message.
func (id *Identity) SealKeys() []SealKey {
	now, err := id.current()
	if err != nil {
		return nil
	}
	found := append(make([]SealKey, 0, 1+len(now.retired)), now.sealKey())
	t := time.Now()
	for _, old := range now.retired {
		if t.Before(old.until) {
			found = append(found, old.key)
		}
	}
	return found
}

// BoxKeys returns the X25519 keys of SealKeys, each once. Seal with the first.
//
// WARNING: unlike the signing key these are bare keys. Do not print them.
func (id *Identity) BoxKeys() []*ecdh.PrivateKey {
	now, err := id.current()
	if err != nil {
		return nil
	}
	found := []*ecdh.PrivateKey{now.set.Box}
	t := time.Now()
	for _, old := range now.retired {
		if t.Before(old.until) && !slices.ContainsFunc(found, func(key *ecdh.PrivateKey) bool { return key.Equal(old.key.X25519) }) {
			found = append(found, old.key.X25519)
		}
	}
	return found
}

// maxRetired bounds the replaced pairs that are kept, however fast they change.
const maxRetired = 16

type retiredKey struct {
	key   SealKey
	until time.Time
}

func (s *state) sealKey() SealKey { return SealKey{X25519: s.set.Box, PQ: s.set.PQ} }

// retire returns the replaced pairs of the generation that follows was.
func (s *state) retire(next SealKey, grace time.Duration) []retiredKey {
	t := time.Now()
	var kept []retiredKey
	if was := s.sealKey(); !was.equal(next) && grace > 0 {
		kept = append(kept, retiredKey{was, t.Add(grace)})
	}
	for _, old := range s.retired {
		if t.Before(old.until) && !old.key.equal(next) {
			kept = append(kept, old)
		}
	}
	return slices.Clip(kept[:min(len(kept), maxRetired)])
}
