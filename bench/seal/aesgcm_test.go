package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"testing"
)

// gcm is AES-256-GCM and nothing else: one key that everybody has, and a counter for the
// nonce. Nothing that encrypts with it can be faster.
type gcm struct {
	aead     cipher.AEAD
	counter  uint64
	nonce    [12]byte
	out      []byte
	plain    []byte
	messages [1][]byte
}

func aesGCM(tb testing.TB, _ int) sealer {
	key := make([]byte, 32)
	random(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return &gcm{aead: aead}
}

func (g *gcm) seal(body []byte) ([][]byte, error) {
	g.counter++
	binary.BigEndian.PutUint64(g.nonce[4:], g.counter)
	g.out = g.aead.Seal(append(g.out[:0], g.nonce[:]...), g.nonce[:], body, nil)
	g.messages[0] = g.out
	return g.messages[:], nil
}

func (g *gcm) open(messages [][]byte, _ int) (_ []byte, err error) {
	nonce, sealed := messages[0][:12], messages[0][12:]
	g.plain, err = g.aead.Open(g.plain[:0], nonce, sealed, nil)
	return g.plain, err
}
