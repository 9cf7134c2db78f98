package envelope

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"testing"
	"time"
)

// party is somebody with a box key.
type party struct {
	id  string
	key *ecdh.PrivateKey
	pq  hpke.PrivateKey
}

func newParty(t testing.TB, service string) party {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pq, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return party{"spiffe://shop.internal/" + service, k, pq}
}

func newParties(t testing.TB, n int) []party {
	var all []party
	for i := range n {
		all = append(all, newParty(t, fmt.Sprintf("r%d", i)))
	}
	return all
}

func (p party) recipient() Recipient {
	r := Recipient{ID: p.id, Key: p.key.PublicKey()}
	if p.pq != nil {
		r.PQ = p.pq.PublicKey().Bytes()
	}
	return r
}

func recipients(all ...party) (out []Recipient) {
	for _, p := range all {
		out = append(out, p.recipient())
	}
	return out
}

var created = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// params are those of an epoch of sender for recipients.
func params(sender party, to ...party) *Params {
	return &Params{
		Suite: AES256GCM, Sender: sender.id, SenderKey: sender.key, Scope: "orders.*",
		Recipients: recipients(to...), Created: created, NotAfter: created.Add(time.Hour),
	}
}

func newEpoch(t testing.TB, p *Params) *Epoch {
	t.Helper()
	e, err := NewEpoch(p, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func message(body string) *Message {
	return &Message{
		Topic: "orders.created", Time: created.Add(1234567 * time.Microsecond),
		Clear:   []Field{{"Micro-Topic", "orders.created"}, {"Trace", "abc"}},
		Headers: []Field{{"Content-Type", "application/json"}, {"Empty", ""}},
		Body:    []byte(body),
	}
}

func seal(t testing.TB, e *Epoch, m *Message, inline bool) []byte {
	t.Helper()
	var random [RandomSize]byte
	if _, err := rand.Read(random[:]); err != nil {
		t.Fatal(err)
	}
	out, err := e.Seal(nil, m, random, inline)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// outside are the clear headers as a carrier brings them.
func outside(m *Message) map[string]string {
	headers := make(map[string]string)
	for _, f := range m.Clear {
		headers[f.Name] = f.Value
	}
	return headers
}

// unwrapAs unwraps the epoch of an envelope with a party's keys.
func unwrapAs(e *Envelope, to party) (*Reader, error) {
	if e.Header == nil {
		return Unwrap(e, &Header{}, to.id, OwnKey{to.key, to.pq})
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		return nil, err
	}
	return Unwrap(e, h, to.id, OwnKey{to.key, to.pq})
}

// open parses, unwraps and opens with the message's own topic and clear headers.
func open(raw []byte, to party, m *Message, verify func(digest, signature []byte) bool) (Opened, error) {
	e, err := Parse(raw)
	if err != nil {
		return Opened{}, err
	}
	r, err := unwrapAs(e, to)
	if err != nil {
		return Opened{}, err
	}
	return r.Open(nil, e, m.Topic, outside(m), verify)
}

// openLean opens with a reader that knows the epoch.
func openLean(raw []byte, r *Reader, m *Message, verify func(digest, signature []byte) bool) (Opened, error) {
	e, err := Parse(raw)
	if err != nil {
		return Opened{}, err
	}
	return r.Open(nil, e, m.Topic, outside(m), verify)
}

// without takes the epoch out of an envelope.
func without(t testing.TB, raw []byte) []byte {
	t.Helper()
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(e.prefix)
	out[flagsAt] = 0
	return append(appendSized(out, e.ciphertext), e.Proof...)
}

// newReader unwraps the epoch of an envelope.
func newReader(t testing.TB, raw []byte, to party) *Reader {
	t.Helper()
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := unwrapAs(e, to)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func same(t testing.TB, got Opened, want *Message) {
	t.Helper()
	if string(got.Body) != string(want.Body) || !got.Time.Equal(want.Time) || got.Count() != len(want.Headers) {
		t.Errorf("opened %d bytes, %d headers, of %v; want %d, %d, %v", len(got.Body), got.Count(), got.Time, len(want.Body), len(want.Headers), want.Time)
	}
	i := 0
	for name, value := range got.Headers() {
		if want.Headers[i] != (Field{name, value}) {
			t.Errorf("header %d is %s: %s", i, name, value)
		}
		i++
	}
}
