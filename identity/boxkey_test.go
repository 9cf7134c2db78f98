package identity

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"math/big"
	"slices"
	"testing"
)

// TestLowOrderKeys holds the list against what an agreement says, for each point
// and for its neighbours, with the topmost bit clear and set.
func TestLowOrderKeys(t *testing.T) {
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := 0; i < len(lowOrderPoints); i += boxKeySize {
		u := []byte(lowOrderPoints[i : i+boxKeySize])
		slices.Reverse(u)
		for _, delta := range []int64{-2, -1, 0, 1, 2} {
			n := new(big.Int).Add(new(big.Int).SetBytes(u), big.NewInt(delta))
			if n.Sign() < 0 || n.BitLen() > 255 {
				continue
			}
			raw := n.FillBytes(make([]byte, boxKeySize))
			slices.Reverse(raw)
			for _, top := range []byte{0, 0x80} {
				raw[boxKeySize-1] |= top
				key, err := ecdh.X25519().NewPublicKey(raw)
				if err != nil {
					t.Fatal(err)
				}
				_, agreement := own.ECDH(key)
				got := CheckBoxKey(raw)
				if (agreement != nil) != (got != nil) || got != nil && !errors.Is(got, errLowOrder) {
					t.Errorf("key %x: CheckBoxKey says %v, an agreement %v", raw, got, agreement)
				}
				if got != nil {
					refused++
				}
			}
		}
	}
	if refused < 14 {
		t.Errorf("%d keys refused: want the 7 points in two spellings at least", refused)
	}
}
