package identity

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
)

// boxKeySize is the size of an X25519 public key (RFC 7748), in bytes.
const boxKeySize = 32

var errLowOrder = errors.New("identity: a box key of low order is not a key: what is sealed to it can be opened by everybody")

// CheckBoxKey refuses what is no X25519 public key of 32 bytes, and keys of low
// order (RFC 7748, section 6.1).
func CheckBoxKey(raw []byte) error {
	_, err := parseBoxKey(raw)
	return err
}

func parseBoxKey(raw []byte) (*ecdh.PublicKey, error) {
	key, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("identity: a box key of %d bytes: X25519 keys have %d", len(raw), boxKeySize)
	}
	if lowOrder(raw) {
		return nil, errLowOrder
	}
	return key, nil
}

// lowOrderPoints are the u-coordinates, little-endian, of all points of order 1, 2,
// 4 and 8 of Curve25519 and its twist, in every encoding of 255 bits.
const lowOrderPoints = "" +
	// 0 and 1
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	// the two of order 8
	"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00" +
	"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57" +
	// p-1, p and p+1, where p = 2^255-19
	"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f" +
	"\xed\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f" +
	"\xee\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"

// lowOrder compares a key with the points of low order. An agreement would tell
// too, at a thousand times the price, and whoever reads a registry of many nodes
// would pay it for each.
func lowOrder(key []byte) bool {
	u := bytes.Clone(key)
	u[boxKeySize-1] &= 0x7f // RFC 7748, section 5: the topmost bit does not count
	for i := 0; i < len(lowOrderPoints); i += boxKeySize {
		if string(u) == lowOrderPoints[i:i+boxKeySize] {
			return true
		}
	}
	return false
}
