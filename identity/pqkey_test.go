package identity_test

import (
	"bytes"
	"crypto/hpke"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"slices"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

func seedOf(t testing.TB, key hpke.PrivateKey) []byte {
	t.Helper()
	seed, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(seed)
}

func samePair(t testing.TB, a, b identity.SealKey) bool {
	t.Helper()
	return a.X25519.Equal(b.X25519) && bytes.Equal(seedOf(t, a.PQ), seedOf(t, b.PQ))
}

func pqKey(t testing.TB) []byte {
	t.Helper()
	key, err := keys.NewPQKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.PublicKey().Bytes()
}

func TestCheckPQKey(t *testing.T) {
	good := pqKey(t)
	if err := identity.CheckPQKey(good); err != nil || len(good) != identity.PQKeySize {
		t.Fatalf("%d bytes: %v", len(good), err)
	}
	const x25519At = mlkem.EncapsulationKeySize768
	with := func(change func(raw []byte)) []byte {
		raw := bytes.Clone(good)
		change(raw)
		return raw
	}
	for name, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"none":          {nil, "0 bytes"},
		"an X25519 key": {boxKey(t), "32 bytes"},
		"short":         {good[:len(good)-1], "1215 bytes"},
		"long":          {append(bytes.Clone(good), 0), "1217 bytes"},
		// 3329 is the modulus: the greatest coefficient is 3328.
		"first coefficient": {with(func(raw []byte) { raw[0], raw[1] = 0x01, raw[1]&0xf0|0x0d }), "reduced"},
		"last coefficient":  {with(func(raw []byte) { raw[1150], raw[1151] = 0xf0, 0xff }), "reduced"},
		"all bits set":      {bytes.Repeat([]byte{0xff}, identity.PQKeySize), "reduced"},
		"X25519 zero":       {with(func(raw []byte) { clear(raw[x25519At:]) }), "low order"},
		"X25519 one":        {with(func(raw []byte) { clear(raw[x25519At:]); raw[x25519At] = 1 }), "low order"},
		"X25519 top bit":    {with(func(raw []byte) { clear(raw[x25519At:]); raw[len(raw)-1] = 0x80 }), "low order"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, identity.CheckPQKey(c.raw), nil, "post-quantum", c.says)
		})
	}
}

// FuzzCheckPQKey holds the check against crypto/hpke: it refuses what cannot be parsed
// or sealed to, and nothing else.
func FuzzCheckPQKey(f *testing.F) {
	key, err := hpke.MLKEM768X25519().NewPrivateKey(make([]byte, 32)) // the same in each worker
	if err != nil {
		f.Fatal(err)
	}
	good := key.PublicKey().Bytes()
	f.Add(good, uint16(0), uint16(0), false)
	for i := range 3 { // the greatest coefficient, and one above, in every place of three bytes
		f.Add(good, uint16(i), uint16(3328), false)
		f.Add(good, uint16(i), uint16(3329), false)
	}
	f.Add(good, uint16(767), uint16(3328), false)
	f.Add(good, uint16(767), uint16(3329), false)
	f.Add(good, uint16(767), uint16(4095), true)
	f.Add(good, uint16(5), uint16(5), true)
	f.Add(good[:1215], uint16(0), uint16(0), false)
	f.Add([]byte{}, uint16(0), uint16(0), false)
	f.Fuzz(func(t *testing.T, raw []byte, at, coefficient uint16, low bool) {
		if len(raw) == identity.PQKeySize {
			raw = bytes.Clone(raw)
			i, c := int(at%768)/2*3, coefficient%4096
			if at%2 == 0 {
				raw[i], raw[i+1] = byte(c), raw[i+1]&0xf0|byte(c>>8)
			} else {
				raw[i+1], raw[i+2] = raw[i+1]&0x0f|byte(c<<4), byte(c>>4)
			}
			if low {
				clear(raw[len(raw)-32:])
			}
		}
		key, want := hpke.MLKEM768X25519().NewPublicKey(raw)
		if want == nil {
			_, want = hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, nil)
		}
		if got := identity.CheckPQKey(raw); (got == nil) != (want == nil) {
			t.Errorf("CheckPQKey says %v, crypto/hpke %v", got, want)
		}
	})
}

// TestCheckedPQKeysSeal: what the check lets through can be sealed to, so that one bad
// key cannot stop a message that goes to many.
func TestCheckedPQKeysSeal(t *testing.T) {
	for range 20 {
		raw := make([]byte, identity.PQKeySize)
		rand.Read(raw[mlkem.EncapsulationKeySize768-32:]) // the rest is the zero polynomial
		if err := identity.CheckPQKey(raw); err != nil {
			t.Fatal(err)
		}
		key, err := hpke.MLKEM768X25519().NewPublicKey(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), nil, []byte("hello")); err != nil {
			t.Error(err)
		}
	}
}

// TestPQKeyIsIndependent: the post-quantum key is no function of the X25519 key, as far
// as a test can say: it is another where that is the same, it is not its bytes nor a
// plain hash of them, and its own X25519 half is another key.
func TestPQKeyIsIndependent(t *testing.T) {
	a := newAuthority(t, domain)
	first := issue(t, a, "a")
	dir := save(t, first)
	remove(t, dir, "pq.key")
	one, _ := load(t, dir)
	two, _ := load(t, dir)
	var seeds [][]byte
	for _, id := range []*identity.Identity{first, issue(t, a, "a"), one, two} {
		pair := id.SealKeys()[0]
		seed, box := seedOf(t, pair.PQ), pair.X25519.Bytes()
		if slices.ContainsFunc(seeds, func(other []byte) bool { return bytes.Equal(other, seed) }) {
			t.Error("two identities have one post-quantum key")
		}
		seeds = append(seeds, seed)
		sum2, sum3 := sha256.Sum256(box), sha3.Sum256(box)
		shake := sha3.SumSHAKE256(box, len(seed))
		derived, err := hpke.MLKEM768X25519().DeriveKeyPair(box)
		if err != nil {
			t.Fatal(err)
		}
		for name, of := range map[string][]byte{
			"the X25519 key": box, "its SHA-256": sum2[:], "its SHA3-256": sum3[:], "its SHAKE256": shake, "its DeriveKeyPair": seedOf(t, derived),
		} {
			if bytes.Equal(seed, of) {
				t.Errorf("the post-quantum key is %s", name)
			}
		}
		public := pair.Public()
		if bytes.Contains(public.PQ, public.X25519.Bytes()) {
			t.Error("both have one X25519 key")
		}
	}
	if !one.BoxKeys()[0].Equal(two.BoxKeys()[0]) {
		t.Error("the X25519 key is not that of the file, so this has shown nothing")
	}
}

func BenchmarkCheckPQKey(b *testing.B) {
	key := pqKey(b)
	for b.Loop() {
		if err := identity.CheckPQKey(key); err != nil {
			b.Fatal(err)
		}
	}
}
