package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestOpenInItsPlace: a message opens over its own ciphertext, and nothing beside that is
// written.
func TestOpenInItsPlace(t *testing.T) {
	for _, suite := range []Suite{AES256GCM, ChaCha20Poly1305} {
		for _, n := range []int{1, 3} {
			for _, body := range []string{"", "an order", string(make([]byte, 5000))} {
				t.Run(fmt.Sprintf("suite=%d/recipients=%d/size=%d", suite, n, len(body)), func(t *testing.T) {
					to := newParties(t, n)
					p := params(newParty(t, "shop"), to...)
					p.Suite = suite
					m := message(body)
					raw := seal(t, newEpoch(t, p), m, true)
					r, sent := newReader(t, raw, to[0]), bytes.Clone(raw)
					e, err := Parse(raw)
					if err != nil {
						t.Fatal(err)
					}
					opened, err := r.Open(e.Room(), e, m.Topic, outside(m), nil)
					if err != nil || string(opened.Body) != body {
						t.Fatalf("got %q, error %v", opened.Body, err)
					}
					at := bytes.Index(sent, e.Proof)
					if n == 1 {
						at = len(sent)
					}
					if begin := at - len(e.ciphertext); !bytes.Equal(raw[:begin], sent[:begin]) || !bytes.Equal(raw[at:], sent[at:]) {
						t.Error("more than the ciphertext was written over")
					}

					sent[len(sent)-1-len(e.Proof)] ^= 1 // of the cipher's own tag
					if e, err = Parse(sent); err != nil {
						t.Fatal(err)
					}
					if _, err := r.Open(e.Room(), e, m.Topic, outside(m), nil); !errors.Is(err, ErrTampered) {
						t.Errorf("a changed message: error is %v, want %v", err, ErrTampered)
					}
				})
			}
		}
	}
}
