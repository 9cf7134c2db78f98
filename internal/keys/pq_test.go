package keys_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/subtle"
	"encoding/pem"
	"testing"

	"github.com/go-signet/signet/internal/keys"
)

func samePQ(a, b hpke.PrivateKey) bool {
	return subtle.ConstantTimeCompare(must(a.Bytes()), must(b.Bytes())) == 1
}

// sampleXWing is the private key that draft-connolly-cfrg-xwing-kem shows: the seed
// is the bytes 0 to 31.
const sampleXWing = `-----BEGIN PRIVATE KEY-----
MDQCAQAwDQYLKwYBBAGD5i2ByHoEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZ
GhscHR4f
-----END PRIVATE KEY-----
`

// TestPQKeySample: keys are read and written in the form of the draft, which other
// tools have too.
func TestPQKeySample(t *testing.T) {
	key, err := keys.ParsePQKey([]byte(sampleXWing))
	if err != nil {
		t.Fatal(err)
	}
	seed := must(key.Bytes())
	for i, b := range seed {
		if int(b) != i {
			t.Fatalf("seed %x", seed)
		}
	}
	if n := len(key.PublicKey().Bytes()); len(seed) != 32 || n != keys.PQPublicKeySize {
		t.Errorf("a seed of %d bytes, a public key of %d", len(seed), n)
	}
	if again := must(keys.EncodePQKey(key)); string(again) != sampleXWing {
		t.Errorf("written as\n%s", again)
	}
}

func TestParsePQKey(t *testing.T) {
	key := must(keys.NewPQKey())
	good := must(keys.EncodePQKey(key))
	if got, err := keys.ParsePQKey(good); err != nil || !samePQ(got, key) {
		t.Errorf("got %v", err)
	}
	der := decode(good)
	with := func(i int, b byte) []byte {
		other := bytes.Clone(der)
		other[i] ^= b
		return block("PRIVATE KEY", other)
	}
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"X25519":             {pkcs8(t, must(keys.NewBoxKey())), "belongs in box.key"},
		"P-256":              {pkcs8(t, p256), "*ecdsa.PrivateKey"},
		"P-256 for ECDH":     {pkcs8(t, must(ecdh.P256().GenerateKey(rand.Reader))), "MLKEM768-X25519"},
		"two":                {append(bytes.Clone(good), good...), "two keys"},
		"another type":       {block("XWING PRIVATE KEY", der), "XWING PRIVATE KEY"},
		"encrypted":          {block("ENCRYPTED PRIVATE KEY", der), "ENCRYPTED PRIVATE KEY"},
		"a public key":       {block("PUBLIC KEY", key.PublicKey().Bytes()), "PUBLIC KEY"},
		"not a key":          {block("PRIVATE KEY", []byte("hello")), "does not parse"},
		"another algorithm":  {with(19, 1), "does not parse"},
		"another version":    {with(4, 1), "does not parse"},
		"truncated PEM":      {good[:80], "truncated"},
		"truncated seed":     {block("PRIVATE KEY", der[:len(der)-1]), "truncated"},
		"no seed":            {block("PRIVATE KEY", der[:len(der)-32]), "truncated"},
		"a byte too many":    {block("PRIVATE KEY", append(bytes.Clone(der), 0)), "too long"},
		"parameters":         {block("PRIVATE KEY", append(append(bytes.Clone(der[:20]), 5, 0), der[20:]...)), "does not parse"},
		"a seed without DER": {block("PRIVATE KEY", der[len(der)-32:]), "does not parse"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParsePQKey(c.data)
			wantError(t, err, keys.ErrPEM, c.says)
			if bytes.Contains([]byte(err.Error()), der[len(der)-32:]) {
				t.Error("the error holds the key")
			}
		})
	}
	wantError(t, second(keys.ParseBoxKey(good)), keys.ErrPEM, "belongs in pq.key")
	if _, err := keys.EncodePQKey(must(hpke.MLKEM768().GenerateKey())); err == nil {
		t.Error("a key of another KEM was written")
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzParsePQKey: whatever is accepted is written again as the same key.
func FuzzParsePQKey(f *testing.F) {
	f.Add([]byte(sampleXWing))
	f.Add(must(keys.EncodePQKey(must(keys.NewPQKey()))))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := keys.ParsePQKey(data)
		if err != nil {
			return
		}
		was, _ := pem.Decode(bytes.TrimSpace(data))
		if !bytes.Equal(decode(must(keys.EncodePQKey(key))), was.Bytes) {
			t.Error("an accepted key is written otherwise")
		}
	})
}
