package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"math"
	"testing"
)

// TestHeaderRefused: headers that a sender could write and no receiver may accept.
func TestHeaderRefused(t *testing.T) {
	sender, a, b := newParty(t, "shop"), newParty(t, "a"), newParty(t, "b")
	e, err := Parse(seal(t, newEpoch(t, params(sender, a, b)), message(""), true))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*Header)) []byte {
		h := *parsed
		f(&h)
		return h.encode()
	}
	long := bytes.Clone(e.Header)
	long[3] |= 0x80 // the length of the sender's ID, in two bytes
	long = append(long[:4:4], append([]byte{0}, long[4:]...)...)
	for name, tc := range map[string]struct {
		header []byte
		want   error
	}{
		"pairwise for two":       {change(func(h *Header) { h.Mode = Pairwise }), ErrMalformed},
		"unknown mode":           {change(func(h *Header) { h.Mode = 3 }), ErrSuite},
		"no recipients":          {change(func(h *Header) { h.KeyIDs = nil }), ErrMalformed},
		"no messages":            {change(func(h *Header) { h.Most = 0 }), ErrLimit},
		"too many messages":      {change(func(h *Header) { h.Most = MaxMessages + 1 }), ErrLimit},
		"no time":                {change(func(h *Header) { h.NotAfter = h.Created }), ErrMalformed},
		"extended":               {append(bytes.Clone(e.Header), 0), ErrMalformed},
		"truncated":              {e.Header[:len(e.Header)-1], ErrMalformed},
		"a number in long form":  {long, ErrMalformed},
		"too many recipients":    {change(func(h *Header) { h.KeyIDs = make([][]byte, MaxRecipients+1) }), ErrLimit},
		"larger than any can be": {make([]byte, maxHeader+1), ErrLimit},
	} {
		if _, err := ParseHeader(tc.header); !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
	}
}

// TestEnvelopeRefused: parts that do not belong together.
func TestEnvelopeRefused(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	m := message("x")
	raw := seal(t, newEpoch(t, params(sender, to)), m, true)
	parse := func() *Envelope {
		e, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	r := newReader(t, raw, to)
	openAs := func(e *Envelope) error {
		_, err := r.Open(nil, e, m.Topic, outside(m), nil)
		return err
	}
	if err := openAs(parse()); err != nil {
		t.Fatal(err)
	}
	e := parse()
	e.Epoch[0] ^= 1 // the prefix, which is authenticated, says otherwise
	if err := openAs(e); !errors.Is(err, ErrTampered) {
		t.Errorf("another epoch: %v", err)
	}
	e = parse()
	e.Suite = ChaCha20Poly1305
	if err := openAs(e); !errors.Is(err, ErrTampered) {
		t.Errorf("another suite: %v", err)
	}
	if _, err := unwrapAs(e, to); !errors.Is(err, ErrMalformed) {
		t.Errorf("an epoch of another suite: %v", err)
	}
	e = parse()
	e.Grants = append(bytes.Clone(e.Grants), e.Grants...)
	if _, err := unwrapAs(e, to); !errors.Is(err, ErrMalformed) {
		t.Errorf("two grants for one key: %v", err)
	}
	// A ciphertext that has no room for its tag.
	short := append(bytes.Clone(e.prefix), 3, 1, 2, 3)
	short[len(magic)+2] = 0
	if _, err := Parse(short); !errors.Is(err, ErrMalformed) {
		t.Errorf("a ciphertext of three bytes: %v", err)
	}
	// The clear headers in another order.
	swapped := bytes.Clone(raw)
	first, second := appendSized(nil, m.Clear[0].Name), appendSized(nil, m.Clear[1].Name)
	copy(swapped[prefixSize:], append(second, first...))
	if _, err := Parse(swapped); !errors.Is(err, ErrMalformed) {
		t.Errorf("clear headers that are not sorted: %v", err)
	}
	// Padding is zeros, so that nothing can hide in it.
	padded := message("x")
	padded.Padding = 3
	plain := padded.append(make([]byte, 0, padded.size()))
	if _, err := parsePlaintext(plain); err != nil {
		t.Fatal(err)
	}
	plain[9]++
	if _, err := parsePlaintext(plain); !errors.Is(err, ErrMalformed) {
		t.Errorf("padding with something in it: %v", err)
	}
	if _, err := Parse(make([]byte, MaxSize+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("too large: %v", err)
	}
}

// TestSignatureRefused: in mode Signed nothing opens without the caller's consent.
func TestSignatureRefused(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := params(sender, to)
	p.Sign = func(digest []byte) ([]byte, error) { return ed25519.Sign(private, digest), nil }
	verify := func(digest, signature []byte) bool { return ed25519.Verify(public, digest, signature) }
	m := message("x")
	raw := seal(t, newEpoch(t, p), m, true)
	if _, err := open(raw, to, m, verify); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		raw    []byte
		verify func(digest, signature []byte) bool
		want   error
	}{
		"nobody to ask": {raw, nil, ErrTampered},
		"refused":       {raw, func(_, _ []byte) bool { return false }, ErrTampered},
		"extended":      {append(bytes.Clone(raw), 0), verify, ErrMalformed},
		"cut":           {raw[:len(raw)-1], verify, ErrMalformed},
		"changed":       {append(bytes.Clone(raw[:len(raw)-1]), raw[len(raw)-1]^1), verify, ErrTampered},
	} {
		if _, err := open(tc.raw, to, m, tc.verify); !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
	}
	for name, sign := range map[string]func([]byte) ([]byte, error){
		"an error":     func([]byte) ([]byte, error) { return nil, errors.New("no") },
		"no signature": func([]byte) ([]byte, error) { return nil, nil },
		"a long one":   func([]byte) ([]byte, error) { return make([]byte, MaxSignature+1), nil },
	} {
		p.Sign = sign
		if out, err := newEpoch(t, p).Seal(nil, m, [RandomSize]byte{}, false); err == nil || out != nil {
			t.Errorf("signing with %s: %d bytes, %v", name, len(out), err)
		}
	}
}

// TestCounterDoesNotWrap: an epoch that is used up stays so, however often it is asked.
func TestCounterDoesNotWrap(t *testing.T) {
	e := newEpoch(t, params(newParty(t, "shop"), newParty(t, "billing")))
	e.counter.Store(math.MaxUint32)
	for range 3 {
		if _, err := e.Seal(nil, message("x"), [RandomSize]byte{}, false); !errors.Is(err, ErrExhausted) {
			t.Errorf("error is %v", err)
		}
	}
}

// TestRepeatedKeyID: a key ID that is there a thousand times costs two attempts.
func TestRepeatedKeyID(t *testing.T) {
	sender, to, other := newParty(t, "shop"), newParty(t, "billing"), newParty(t, "other")
	e, err := Parse(seal(t, newEpoch(t, params(sender, other, to)), message("x"), true))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := unwrapAs(e, to); err != nil || r.index != 1 {
		t.Fatal(err)
	}
	ours := h.KeyIDs[1]
	// Two recipients may have one key ID, by accident.
	for n := 1; n <= 3; n++ {
		made := &Epoch{mode: Tagged, suite: h.Suite}
		h.KeyIDs = nil
		for range n {
			h.KeyIDs = append(h.KeyIDs, ours)
			made.grants = append(made.grants, make([]byte, wrappedSize)...)
		}
		made.grants = made.grants[:(n-1)*wrappedSize]
		ephemeral, secret, err := fresh(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h.Ephemeral = ephemeral.PublicKey().Bytes()
		made.header = h.encode()
		if made.id, err = epochID(secret, made.header); err != nil {
			t.Fatal(err)
		}
		if err := made.grant(&Params{SenderKey: sender.key}, ephemeral, secret, to.recipient()); err != nil {
			t.Fatal(err)
		}
		r, err := unwrapAs(&Envelope{Suite: h.Suite, Epoch: made.id, Header: made.header, Grants: made.grants}, to)
		if n <= maxTries && (err != nil || r.index != n-1) {
			t.Errorf("the grant is the last of %d: %v", n, err)
		}
		if n > maxTries && !errors.Is(err, ErrTampered) {
			t.Errorf("the grant is the last of %d: error is %v", n, err)
		}
	}
}

// TestSignatureLast: who does not know the epoch key costs us no check of a signature.
func TestSignatureLast(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	p := params(sender, to)
	p.Sign = func([]byte) ([]byte, error) { return []byte("signature"), nil }
	asked := 0
	verify := func(_, signature []byte) bool { asked++; return string(signature) == "signature" }
	m := message("x")
	raw := seal(t, newEpoch(t, p), m, true)
	r := newReader(t, raw, to)
	try := func(raw []byte) error {
		e, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Open(nil, e, m.Topic, outside(m), verify)
		return err
	}
	junk := bytes.Clone(raw)
	junk[len(junk)-len("signature")-2] ^= 1 // the end of the ciphertext
	if err := try(junk); !errors.Is(err, ErrTampered) || asked != 0 {
		t.Errorf("error is %v; %d signatures were checked", err, asked)
	}
	if err := try(raw); err != nil || asked != 1 {
		t.Errorf("error is %v; %d signatures were checked", err, asked)
	}
	// What is signed is the ciphertext, also where the plaintext is written over it.
	var digests [2][]byte
	for i := range digests {
		e, err := Parse(bytes.Clone(raw))
		if err != nil {
			t.Fatal(err)
		}
		dst := [][]byte{nil, e.Room()}[i]
		got, err := r.Open(dst, e, m.Topic, outside(m), func(digest, _ []byte) bool { digests[i] = bytes.Clone(digest); return true })
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, m)
	}
	if !bytes.Equal(digests[0], digests[1]) {
		t.Error("opened in its place, another digest was checked")
	}
}

// TestUses: a reader knows which key it has.
func TestUses(t *testing.T) {
	sender, a, b := newParty(t, "shop"), newParty(t, "a"), newParty(t, "b")
	for _, suite := range []Suite{AES256GCM, PQAES256GCM} {
		p := params(sender, a, b)
		p.Suite = suite
		r := newReader(t, seal(t, newEpoch(t, p), message(""), true), b)
		if !r.Uses(OwnKey{b.key, b.pq}) || !r.Uses(OwnKey{sender.key, sender.pq}, OwnKey{b.key, b.pq}) {
			t.Error("it does not know its key")
		}
		if r.Uses(OwnKey{a.key, a.pq}) || r.Uses() {
			t.Error("it takes another's key for its own")
		}
	}
}
