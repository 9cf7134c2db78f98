package envelope

import (
	"bytes"
	"errors"
	"testing"
)

// TestInline: with or without its epoch, it is one message: it opens wherever the epoch
// is known, and is made the other without any key.
func TestInline(t *testing.T) {
	sender, to := newParty(t, "shop"), newParties(t, 3)
	signature := []byte("signature")
	for name, change := range map[string]func(*Params){
		"pairwise": func(p *Params) { p.Recipients = p.Recipients[:1] },
		"tagged":   func(*Params) {},
		"signed": func(p *Params) {
			p.Sign = func(digest []byte) ([]byte, error) { return append(signature, digest...), nil }
		},
		"post-quantum": func(p *Params) { p.Suite = PQChaCha20Poly1305 },
	} {
		t.Run(name, func(t *testing.T) {
			p := params(sender, to...)
			p.Credential = []byte("a card")
			change(p)
			e := newEpoch(t, p)
			verify := func(digest, got []byte) bool { return bytes.Equal(got, append(signature, digest...)) }
			m := message("hello")
			lean := seal(t, e, m, false)
			before := bytes.Clone(lean)
			inline, err := e.Inline(lean)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(lean, before) {
				t.Error("what was given has changed")
			}
			if e.Left() != MaxMessages-1 {
				t.Error("another message was sealed")
			}
			got, err := open(inline, to[0], m, verify)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, m)
			if e.Binding(lean) != e.Binding(inline) || !bytes.Equal(without(t, inline), lean) {
				t.Error("it is another message")
			}
			// What was sealed with its epoch opens without it.
			sealed := seal(t, e, m, true)
			r := newReader(t, sealed, to[0])
			for _, raw := range [][]byte{lean, inline, sealed, without(t, sealed)} {
				if got, err = openLean(raw, r, m, verify); err != nil {
					t.Fatal(err)
				}
				same(t, got, m)
			}
			if again, err := e.Inline(without(t, sealed)); err != nil || !bytes.Equal(again, sealed) {
				t.Errorf("it differs from what was sealed so; error: %v", err)
			}
			// The flag alone, without what it stands for, or with it.
			for _, raw := range [][]byte{lean, inline} {
				raw = bytes.Clone(raw)
				raw[flagsAt] ^= flagEpoch
				if _, err := openLean(raw, r, m, verify); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrTampered) {
					t.Errorf("with the flag flipped: %v", err)
				}
			}
			for _, raw := range [][]byte{nil, inline, seal(t, newEpoch(t, p), m, false), lean[:len(lean)/2]} {
				if out, err := e.Inline(raw); !errors.Is(err, ErrMalformed) || out != nil {
					t.Errorf("of %d bytes that are not its own: %v", len(raw), err)
				}
			}
		})
	}
}
