package seal

import (
	"crypto/rand"
	"errors"
	"testing"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/nacl/box"
)

var errOpen = errors.New("it does not open")

// keyPair is one of NaCl box.
type keyPair struct{ public, private *[32]byte }

func newKeyPair(tb testing.TB) keyPair {
	tb.Helper()
	public, private, err := box.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return keyPair{public, private}
}

const nonceSize = 24

// boxes is NaCl box to each recipient, with a random nonce in front. shared are the
// agreements, where they are computed once; nil computes them for each message.
type boxes struct {
	sender   keyPair
	to       []keyPair
	shared   []*[32]byte
	messages [][]byte
	plain    []byte
}

func naclBox(tb testing.TB, n int) sealer {
	b := &boxes{sender: newKeyPair(tb), messages: make([][]byte, n)}
	for range n {
		b.to = append(b.to, newKeyPair(tb))
	}
	return b
}

func naclPrecomputed(tb testing.TB, n int) sealer {
	b := naclBox(tb, n).(*boxes)
	for _, k := range b.to {
		shared := new([32]byte)
		box.Precompute(shared, k.public, b.sender.private)
		b.shared = append(b.shared, shared)
	}
	return b
}

func (b *boxes) seal(body []byte) ([][]byte, error) {
	for i, k := range b.to {
		var nonce [nonceSize]byte
		random(nonce[:])
		out := append(b.messages[i][:0], nonce[:]...)
		if b.shared != nil {
			b.messages[i] = box.SealAfterPrecomputation(out, body, &nonce, b.shared[i])
		} else {
			b.messages[i] = box.Seal(out, body, &nonce, k.public, b.sender.private)
		}
	}
	return b.messages, nil
}

func (b *boxes) open(messages [][]byte, i int) ([]byte, error) {
	message, nonce := messages[i][nonceSize:], [nonceSize]byte(messages[i])
	var ok bool
	if b.shared != nil { // both ends compute the same
		b.plain, ok = box.OpenAfterPrecomputation(b.plain[:0], message, &nonce, b.shared[i])
	} else {
		b.plain, ok = box.Open(b.plain[:0], message, &nonce, b.sender.public, b.to[i].private)
	}
	if !ok {
		return nil, errOpen
	}
	return b.plain, nil
}

// curveKeys are the xkeys of NATS: NaCl box with keys in NATS's encoding.
type curveKeys struct {
	sender   nkeys.KeyPair
	public   string
	to       []nkeys.KeyPair
	publics  []string
	messages [][]byte
}

func newCurveKeys(tb testing.TB) (nkeys.KeyPair, string) {
	tb.Helper()
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		tb.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	return pair, public
}

func xkeys(tb testing.TB, n int) sealer {
	c := &curveKeys{messages: make([][]byte, n)}
	c.sender, c.public = newCurveKeys(tb)
	for range n {
		pair, public := newCurveKeys(tb)
		c.to, c.publics = append(c.to, pair), append(c.publics, public)
	}
	return c
}

func (c *curveKeys) seal(body []byte) (_ [][]byte, err error) {
	for i, public := range c.publics {
		if c.messages[i], err = c.sender.Seal(body, public); err != nil {
			return nil, err
		}
	}
	return c.messages, nil
}

func (c *curveKeys) open(messages [][]byte, i int) ([]byte, error) {
	return c.to[i].Open(messages[i], c.public)
}
