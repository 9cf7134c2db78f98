package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"
	"pgregory.net/rapid"
)

func TestRoundTrip(t *testing.T) {
	sender := newParty(t, "shop")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(digest []byte) ([]byte, error) { return ed25519.Sign(private, digest), nil }
	verify := func(digest, signature []byte) bool { return ed25519.Verify(public, digest, signature) }
	for _, suite := range []Suite{AES256GCM, ChaCha20Poly1305, PQAES256GCM, PQChaCha20Poly1305} {
		for _, n := range []int{1, 2, 33} {
			for _, signed := range []bool{false, true} {
				t.Run(fmt.Sprintf("suite=%d/recipients=%d/signed=%v", suite, n, signed), func(t *testing.T) {
					to := newParties(t, n)
					p := params(sender, to...)
					p.Suite = suite
					if signed {
						p.Sign = sign
					}
					e := newEpoch(t, p)
					m := message("hello")
					raw := seal(t, e, m, true)
					for _, r := range to {
						got, err := open(raw, r, m, verify)
						if err != nil {
							t.Fatal(err)
						}
						same(t, got, m)
					}
					// Without the epoch, to a reader that knows it.
					r := newReader(t, raw, to[n-1])
					parsed, err := Parse(seal(t, e, m, false))
					if err != nil {
						t.Fatal(err)
					}
					got, err := r.Open(nil, parsed, m.Topic, outside(m), verify)
					if err != nil {
						t.Fatal(err)
					}
					same(t, got, m)
					if parsed.Counter != 1 || r.Header.Sender != sender.id || r.Header.Scope != "orders.*" || !r.Header.Created.Equal(created) {
						t.Errorf("message %d of %+v", parsed.Counter, r.Header)
					}
				})
			}
		}
	}
}

// TestRoundTripProperty: open(seal(x)) = x, whatever is in it.
func TestRoundTripProperty(t *testing.T) {
	sender, to := newParty(t, "shop"), newParties(t, 3)
	e := newEpoch(t, params(sender, to...))
	r := newReader(t, seal(t, e, message(""), true), to[1])
	rapid.Check(t, func(rt *rapid.T) {
		m := &Message{
			Topic:   rapid.StringN(1, -1, MaxTopic).Draw(rt, "topic"),
			Time:    time.UnixMicro(rapid.Int64Range(0, 1<<60).Draw(rt, "time")),
			Body:    rapid.SliceOf(rapid.Byte()).Draw(rt, "body"),
			Padding: rapid.IntRange(0, 300).Draw(rt, "padding"),
		}
		for i := range rapid.IntRange(0, 5).Draw(rt, "headers") {
			m.Headers = append(m.Headers, Field{fmt.Sprintf("h%d", i), rapid.String().Draw(rt, "value")})
		}
		for i := range rapid.IntRange(0, 3).Draw(rt, "clear") {
			m.Clear = append(m.Clear, Field{fmt.Sprintf("c%d", i), rapid.String().Draw(rt, "value")})
		}
		raw := seal(t, e, m, false)
		parsed, err := Parse(raw)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := r.Open(nil, parsed, m.Topic, outside(m), nil)
		if err != nil {
			rt.Fatal(err)
		}
		same(t, got, m)
	})
}

// TestTampered: a message with a changed bit, in whichever byte, does not open.
func TestTampered(t *testing.T) {
	sender := newParty(t, "shop")
	for _, n := range []int{1, 3} {
		to := newParties(t, n)
		m := message("attack at dawn")
		raw := seal(t, newEpoch(t, params(sender, to...)), m, true)
		if _, err := open(raw, to[0], m, nil); err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		// Grants and tags of others are theirs: a change denies it to them alone.
		theirs := func(i int) bool {
			grants := bytes.Index(raw, parsed.Grants) + wrappedSize
			tags := len(raw) - (n-1)*tagSize
			return n > 1 && (i >= grants && i < grants+(n-1)*wrappedSize || i >= tags)
		}
		for i := range raw {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << (i % 8)
			if _, err := open(bad, to[0], m, nil); (err == nil) != theirs(i) {
				t.Errorf("%d recipients: byte %d of %d, bit %d flipped: %v", n, i, len(raw), i%8, err)
			}
		}
		for i := range raw {
			if _, err := open(raw[:i], to[0], m, nil); err == nil {
				t.Errorf("%d recipients: cut to %d of %d bytes, it opens", n, i, len(raw))
			}
		}
		if _, err := open(append(bytes.Clone(raw), 0), to[0], m, nil); err == nil {
			t.Errorf("%d recipients: extended, it opens", n)
		}
	}
}

// TestTamperedEpoch: a change to an epoch that comes again is noticed too, where it is
// ours to notice.
func TestTamperedEpoch(t *testing.T) {
	for _, suite := range []Suite{AES256GCM, PQAES256GCM} {
		to := newParties(t, 2)
		p := params(newParty(t, "shop"), to...)
		p.Suite, p.Credential = suite, []byte("a card")
		m := message("attack at dawn")
		raw := seal(t, newEpoch(t, p), m, true)
		r := newReader(t, raw, to[0])
		parsed, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Header.Credential) != "a card" {
			t.Errorf("the credential is %q", r.Header.Credential)
		}
		first := bytes.Index(raw, parsed.Header)
		theirs := bytes.Index(raw, parsed.Grants) + suite.grantSize()
		for i := first; i < theirs+suite.grantSize(); i++ {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << (i % 8)
			e, err := Parse(bad)
			if err == nil {
				_, err = r.Open(nil, e, m.Topic, outside(m), nil)
			}
			if (err == nil) != (i >= theirs) {
				t.Errorf("suite %d: byte %d of %d, bit %d flipped: %v", suite, i-first, theirs-first, i%8, err)
			}
		}
	}
}

// TestPostQuantum: both halves of a recipient's key are needed, and the encapsulation
// is bound to the epoch.
func TestPostQuantum(t *testing.T) {
	sender, to, other := newParty(t, "shop"), newParty(t, "billing"), newParty(t, "crm")
	m := message("x")
	p := params(sender, to)
	p.Suite = PQAES256GCM
	raw := seal(t, newEpoch(t, p), m, true)
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unwrap(e, h, to.id, OwnKey{to.key, nil}); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("without the post-quantum half: %v", err)
	}
	if _, err := Unwrap(e, h, to.id, OwnKey{to.key, other.pq}); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("with another post-quantum half: %v", err)
	}
	// One who has broken X25519, and pretends to have the other half.
	h.KeyIDs = [][]byte{keyID(to.key.PublicKey(), other.pq.PublicKey().Bytes())}
	forged := *e
	forged.Header = h.encode()
	if h, err = ParseHeader(forged.Header); err != nil {
		t.Fatal(err)
	}
	if _, err := Unwrap(&forged, h, to.id, OwnKey{to.key, other.pq}); !errors.Is(err, ErrTampered) {
		t.Errorf("who has the X25519 half only: %v", err)
	}
	if _, err := unwrapAs(e, to); err != nil {
		t.Error(err)
	}
	for name, pq := range map[string][]byte{"none": nil, "short": to.pq.PublicKey().Bytes()[1:], "no key": bytes.Repeat([]byte{0xff}, len(to.pq.PublicKey().Bytes()))} {
		p.Recipients[0].PQ = pq
		if _, err := NewEpoch(p, rand.Reader); !errors.Is(err, ErrKey) {
			t.Errorf("a recipient's key is %s: %v", name, err)
		}
	}
}

// TestContext: a message opens on its topic only, and with its clear headers.
func TestContext(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	m := message("x")
	raw := seal(t, newEpoch(t, params(sender, to)), m, true)
	for name, change := range map[string]func(*Message){
		"another topic":          func(m *Message) { m.Topic = "orders.deleted" },
		"no topic":               func(m *Message) { m.Topic = "" },
		"a clear header":         func(m *Message) { m.Clear = []Field{m.Clear[0], {"Trace", "abd"}} },
		"one that is missing":    func(m *Message) { m.Clear = m.Clear[:1] },
		"a huge value":           func(m *Message) { m.Clear = []Field{m.Clear[0], {"Trace", strings.Repeat("x", MaxClearValues)}} },
		"another name":           func(m *Message) { m.Clear = []Field{m.Clear[0], {"Tracd", "abc"}} },
		"values that have moved": func(m *Message) { m.Clear = []Field{{"Micro-Topic", "orders.create"}, {"Trace", "dabc"}} },
	} {
		t.Run(name, func(t *testing.T) {
			other := *m
			change(&other)
			if _, err := open(raw, to, &other, nil); !errors.Is(err, ErrTampered) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestNotRecipient: whoever is not named reads nothing, and neither does one whose
// key is named under another ID.
func TestNotRecipient(t *testing.T) {
	sender, to, other := newParty(t, "shop"), newParty(t, "billing"), newParty(t, "crm")
	m := message("x")
	raw := seal(t, newEpoch(t, params(sender, to)), m, true)
	if _, err := open(raw, other, m, nil); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("a stranger: %v", err)
	}
	h := newReader(t, raw, to).Header
	if h.Addressed(OwnKey{other.key, other.pq}) || !h.Addressed(OwnKey{other.key, other.pq}, OwnKey{to.key, nil}) {
		t.Error("it seems to be addressed to others")
	}
	if _, err := open(raw, party{other.id, to.key, to.pq}, m, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("the key under another ID: %v", err)
	}
	if _, err := open(seal(t, newEpoch(t, params(sender, to)), m, false), to, m, nil); !errors.Is(err, ErrNotRecipient) {
		t.Errorf("without its epoch: %v", err)
	}
}

// TestForgedByRecipient: a recipient knows the epoch's key, and can still not write
// in the sender's name to the others.
func TestForgedByRecipient(t *testing.T) {
	sender, mallory, victim := newParty(t, "shop"), newParty(t, "mallory"), newParty(t, "victim")
	m := message("pay alice")
	e := newEpoch(t, params(sender, mallory, victim))
	raw := seal(t, e, m, true)
	inside := newReader(t, raw, mallory)
	victims := newReader(t, raw, victim)

	forge := func(keys ...key) error {
		forged := &Epoch{header: e.header, grants: e.grants, id: e.id, suite: e.suite, mode: e.mode, most: e.most, aead: inside.aead}
		forged.proofs.keys = keys
		forged.counter.Store(7)
		parsed, err := Parse(seal(t, forged, message("pay mallory"), false))
		if err != nil {
			t.Fatal(err)
		}
		_, err = victims.Open(nil, parsed, m.Topic, outside(m), nil)
		return err
	}
	// All that mallory can make are tags with its own key.
	if err := forge(inside.proofs.keys[0], inside.proofs.keys[0]); !errors.Is(err, ErrTampered) {
		t.Errorf("with mallory's own tags: %v", err)
	}
	// The control: with the victim's key, which only sender and victim have, it opens.
	if err := forge(inside.proofs.keys[0], victims.proofs.keys[0]); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestReflected: what A sealed to B cannot be turned back on A as B's.
func TestReflected(t *testing.T) {
	a, b := newParty(t, "a"), newParty(t, "b")
	m := message("x")
	raw := seal(t, newEpoch(t, params(a, b)), m, true)
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	h.Sender, h.SenderKey, h.KeyIDs = b.id, b.key.PublicKey().Bytes(), [][]byte{keyID(a.key.PublicKey(), nil)}
	e.Header = h.encode()
	if _, err := unwrapAs(e, a); !errors.Is(err, ErrTampered) {
		t.Errorf("error is %v", err)
	}
}

// TestCommitment: two epoch keys, or two headers, have two ids, so that two
// recipients of one epoch open the same messages.
func TestCommitment(t *testing.T) {
	sender, a, b := newParty(t, "shop"), newParty(t, "a"), newParty(t, "b")
	p := params(sender, a, b)
	m := message("x")
	one, two := newEpoch(t, p), newEpoch(t, p)
	raw := seal(t, one, m, true)
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	// A sender that wraps another key for b under the same header.
	ephemeral, err := box25519()
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	h.Ephemeral = ephemeral.PublicKey().Bytes()
	e.Header = h.encode()
	var secretA, secretB key
	secretA[0], secretB[0] = 1, 2
	e.Grants = nil
	for _, g := range []struct {
		to     party
		secret key
	}{{a, secretA}, {b, secretB}} {
		var shared pair
		if shared.ephemeral, err = precompute(ephemeral, g.to.key.PublicKey()); err != nil {
			t.Fatal(err)
		}
		if shared.static, err = precompute(sender.key, g.to.key.PublicKey()); err != nil {
			t.Fatal(err)
		}
		wrap, err := shared.wrapKey(e.Header, g.to.id, g.to.key.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		e.Grants = box.SealAfterPrecomputation(e.Grants, g.secret[:], new([24]byte), &wrap)
	}
	if e.Epoch, err = epochID(secretA, e.Header); err != nil {
		t.Fatal(err)
	}
	if _, err := unwrapAs(e, a); err != nil {
		t.Errorf("the control: %v", err)
	}
	if _, err := unwrapAs(e, b); !errors.Is(err, ErrTampered) {
		t.Errorf("a key that the id does not commit to: %v", err)
	}
	if one.ID() == two.ID() {
		t.Error("two epochs have one id")
	}
}

// TestWithoutSenderKey: who has recipients' public keys and the header can make an
// epoch in nobody's name but his own.
func TestWithoutSenderKey(t *testing.T) {
	sender, mallory, victim := newParty(t, "shop"), newParty(t, "mallory"), newParty(t, "victim")
	m := message("x")
	p := params(party{id: sender.id, key: mallory.key}, victim)
	raw := seal(t, newEpoch(t, p), m, true)
	r := newReader(t, raw, victim)
	if !bytes.Equal(r.Header.SenderKey, mallory.key.PublicKey().Bytes()) {
		t.Error("the header shows another key than the one that was used")
	}
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	e.Header = bytes.Replace(e.Header, mallory.key.PublicKey().Bytes(), sender.key.PublicKey().Bytes(), 1)
	if _, err := unwrapAs(e, victim); !errors.Is(err, ErrTampered) {
		t.Errorf("with the sender's key in the header: %v", err)
	}
}

func TestLowOrderKeys(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	for _, low := range []string{string(make([]byte, 32)), "\x01" + string(make([]byte, 31))} {
		key, err := to.key.Curve().NewPublicKey([]byte(low))
		if err != nil {
			t.Fatal(err)
		}
		p := params(sender, to)
		p.Recipients = append(p.Recipients, Recipient{ID: "spiffe://shop.internal/low", Key: key})
		if _, err := NewEpoch(p, rand.Reader); !errors.Is(err, ErrKey) {
			t.Errorf("a recipient's: %v", err)
		}
		raw := seal(t, newEpoch(t, params(sender, to)), message(""), true)
		for _, which := range []string{"sender", "ephemeral"} {
			e, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			h, err := ParseHeader(e.Header)
			if err != nil {
				t.Fatal(err)
			}
			if which == "sender" {
				h.SenderKey = []byte(low)
			} else {
				h.Ephemeral = []byte(low)
			}
			e.Header = h.encode()
			if _, err := unwrapAs(e, to); !errors.Is(err, ErrKey) {
				t.Errorf("the %s's: %v", which, err)
			}
		}
	}
}

func TestExhausted(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	p := params(sender, to)
	p.Most = 3
	e := newEpoch(t, p)
	for i := range 3 {
		if left := e.Left(); left != uint32(3-i) {
			t.Errorf("%d left before message %d", left, i)
		}
		seal(t, e, message("x"), false)
	}
	for range 3 {
		if _, err := e.Seal(nil, message("x"), [RandomSize]byte{}, false); !errors.Is(err, ErrExhausted) {
			t.Errorf("error is %v", err)
		}
	}
	if e.Left() != 0 {
		t.Errorf("%d left", e.Left())
	}
	// A counter that the epoch does not have.
	forged := newEpoch(t, params(sender, to))
	forged.counter.Store(3)
	raw := seal(t, forged, message("x"), true)
	r := newReader(t, raw, to)
	r.Header.Most = 3
	parsed, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(nil, parsed, "orders.created", outside(message("x")), nil); !errors.Is(err, ErrLimit) {
		t.Errorf("a message beyond the last: %v", err)
	}
}
