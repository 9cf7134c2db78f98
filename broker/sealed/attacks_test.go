package sealed_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/identity"
)

const (
	unsealed     = sealed.ReasonUnsealed
	badSuite     = sealed.ReasonSuite
	badTopic     = sealed.ReasonTopic
	badPublisher = sealed.ReasonPublisher
	notRecipient = sealed.ReasonNotRecipient
	tampered     = sealed.ReasonTampered
	replayed     = sealed.ReasonReplay
	expired      = sealed.ReasonExpired
	overLimit    = sealed.ReasonLimit
)

// TestAttacks: whatever the operator of the broker does, or who may publish there, or
// reads along, the handler is not called, and the next good message is delivered.
func TestAttacks(t *testing.T) {
	for _, attack := range []struct {
		name string
		run  func(t *testing.T, s *scene)
	}{
		{"any bit of any field flipped", flipped},
		{"any bit flipped before the epoch is known", flippedEarly},
		{"its epoch taken out", withoutEpoch},
		{"truncated", truncated},
		{"extended", extended},
		{"topic A's message on B", crossDelivered},
		{"Micro-Topic changed", microTopic},
		{"Content-Type changed", contentTypes},
		{"a clear header changed, added, removed", clearHeaders},
		{"unsealed message", unsealedMessages},
		{"unknown version or suite", versions},
		{"sender forged by an outsider", outsider},
		{"sender forged by another publisher", otherPublisher},
		{"forged by another recipient", otherRecipient},
		{"forged by another recipient with the same AEAD tag", sameTag},
		{"a removed recipient's old epoch", removedRecipient},
		{"two grants with one epoch id", twoGrants},
		{"reflection", reflection},
		{"low-order key", lowOrder},
		{"publisher without the right", withoutRight},
		{"success then duplicate", duplicate},
		{"an epoch for other topics", scopes},
		{"a counter beyond the epoch's", counters},
		{"times that are not true", times},
		{"plaintext that is not well-formed", plaintexts},
		{"a key named many times", manyGrants},
	} {
		t.Run(attack.name, func(t *testing.T) {
			s := newScene(t)
			s.good(t)
			attack.run(t, s)
			s.good(t)
		})
	}
}

// TestAttackersTools: what the tools make of a publisher's own keys is delivered. So what
// they make in the attacks fails for no other reason than those keys.
func TestAttackersTools(t *testing.T) {
	for name, of := range map[string]struct {
		suite, mode byte
	}{"AES-256-GCM": {1, 1}, "ChaCha20-Poly1305": {2, 1}, "pairwise": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			shop := s.members["shop"]
			h := headingOf(t, shop, of.mode)
			h.suite = of.suite
			to := []member{memberOf(s.members["shipping"]), memberOf(s.members["billing"])}[1-of.mode:]
			epoch := newSecrets(t, h, shop.BoxKeys()[0], to...)
			n := note{topic: "orders.created", body: "by hand", headers: [][2]string{{"Content-Type", "text/plain"}, {"X", "y"}}, clear: map[string]string{"Trace": "t"}}
			p := epoch.seal(t, n).on(n.topic, n.clear)
			s.delivers(t, p, "by hand")
			want := map[string]string{"Content-Type": "text/plain", "X": "y", "Trace": "t", "Micro-Topic": "orders.created"}
			if got := s.in.last(t).Message().Header; !maps.Equal(got, want) {
				t.Errorf("headers are %v", got)
			}
			// And what the broker makes, the tools can read.
			p = s.sent(t, "orders.created", "to read", "Trace", "x")
			plain := learn(t, p.message.Body, s.members["billing"]).plain(t, dissect(t, p.message.Body), p.topic, p.message.Header)
			if !bytes.HasSuffix(plain, []byte("to read")) {
				t.Errorf("read %q", plain)
			}
		})
	}
}

func (p packet) body(body []byte) packet {
	q := p.clone()
	q.message.Body = body
	return q
}

func (p packet) with(header ...string) packet {
	q := p.clone()
	if q.message.Header == nil {
		q.message.Header = make(map[string]string)
	}
	for i := 0; i < len(header); i += 2 {
		q.message.Header[header[i]] = header[i+1]
	}
	return q
}

func (p packet) without(name string) packet {
	q := p.clone()
	delete(q.message.Header, name)
	return q
}

// part is where a part of an envelope is.
func part(t testing.TB, raw, part []byte) (from, to int) {
	t.Helper()
	at := bytes.Index(raw, part)
	if at < 0 || bytes.LastIndex(raw, part) != at {
		t.Fatal("the part is not there once")
	}
	return at, at + len(part)
}

// others returns which bytes of an envelope are for another recipient alone.
func others(t testing.TB, raw []byte, us *identity.Identity) func(i int) bool {
	t.Helper()
	f := dissect(t, raw)
	ours := slices.IndexFunc(readHeading(f.header).keyIDs, func(id []byte) bool { return bytes.Equal(id, keyIDOf(memberOf(us).key)) })
	theirs := 1 - ours
	grant, grantEnd := part(t, raw, f.grants[theirs])
	tag, tagEnd := part(t, raw, f.proof[16*theirs:][:16])
	return func(i int) bool { return i >= grant && i < grantEnd || i >= tag && i < tagEnd }
}

func flip(raw []byte, bit int) []byte {
	out := bytes.Clone(raw)
	out[bit/8] ^= 1 << (bit % 8)
	return out
}
