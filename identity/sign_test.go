package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
)

func TestSign(t *testing.T) {
	a := newAuthority(t, domain)
	for name, id := range map[string]*identity.Identity{
		"P-256": issue(t, a, "a"), "Ed25519": issue(t, a, "a", identity.Ed25519()),
	} {
		t.Run(name, func(t *testing.T) {
			leaf, other := id.Peer().Certificate, issue(t, a, "b").Peer().Certificate
			sig, err := id.Sign("card", []byte("ab"), []byte("c"))
			if err != nil {
				t.Fatal(err)
			}
			if err := identity.VerifySignature(leaf, "card", sig, []byte("ab"), []byte("c")); err != nil {
				t.Error(err)
			}
			field := func(parts ...string) (fields [][]byte) {
				for _, part := range parts {
					fields = append(fields, []byte(part))
				}
				return fields
			}
			changed := bytes.Clone(sig)
			changed[len(changed)-1] ^= 1
			for name, err := range map[string]error{
				"another purpose":    identity.VerifySignature(leaf, "record", sig, field("ab", "c")...),
				"fields split anew":  identity.VerifySignature(leaf, "card", sig, field("a", "bc")...),
				"fields joined":      identity.VerifySignature(leaf, "card", sig, field("abc")...),
				"a field more":       identity.VerifySignature(leaf, "card", sig, field("ab", "c", "")...),
				"no fields":          identity.VerifySignature(leaf, "card", sig),
				"another key":        identity.VerifySignature(other, "card", sig, field("ab", "c")...),
				"no certificate":     identity.VerifySignature(nil, "card", sig, field("ab", "c")...),
				"signature changed":  identity.VerifySignature(leaf, "card", changed, field("ab", "c")...),
				"signature cut":      identity.VerifySignature(leaf, "card", sig[:len(sig)-1], field("ab", "c")...),
				"signature extended": identity.VerifySignature(leaf, "card", append(bytes.Clone(sig), 0), field("ab", "c")...),
				"no signature":       identity.VerifySignature(leaf, "card", nil, field("ab", "c")...),
			} {
				t.Run(name, func(t *testing.T) { wantError(t, err, identity.ErrSignature) })
			}
		})
	}
}

// TestSignedBytes builds what is signed from the words of the documentation.
func TestSignedBytes(t *testing.T) {
	id := issue(t, newAuthority(t, domain), "a")
	sig, err := id.Sign("card", []byte("ab"), nil)
	if err != nil {
		t.Fatal(err)
	}
	message := strings.Repeat(" ", 64) + "signet/card/v1\x00" + "\x00\x00\x00\x00\x00\x00\x00\x02ab" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	sum := sha256.Sum256([]byte(message))
	if !ecdsa.VerifyASN1(id.Peer().Certificate.PublicKey.(*ecdsa.PublicKey), sum[:], sig) {
		t.Error("something else was signed")
	}
}

func TestSignRefuses(t *testing.T) {
	id := issue(t, newAuthority(t, domain), "a")
	for _, what := range []string{"", "Card", "a/b", "a\x00", "a b", "a_b", strings.Repeat("a", 65)} {
		_, err := id.Sign(what)
		wantError(t, err, nil, "purpose")
		wantError(t, identity.VerifySignature(id.Peer().Certificate, what, nil), nil, "purpose")
	}
	_, err := id.Sign("card", make([]byte, 16<<20))
	wantError(t, err, nil, "at most")
	_, err = id.Sign("card", make([][]byte, 1025)...)
	wantError(t, err, nil, "at most")
}
