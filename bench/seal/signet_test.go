package seal

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// suites are those of the engine, by their part of a benchmark's name.
var suites = []struct {
	name  string
	suite envelope.Suite
}{
	{"aes-256-gcm", envelope.AES256GCM},
	{"chacha20-poly1305", envelope.ChaCha20Poly1305},
	{"pq-aes-256-gcm", envelope.PQAES256GCM},
	{"pq-chacha20-poly1305", envelope.PQChaCha20Poly1305},
}

// signets are the engine's suites and modes. few are the sizes of those that differ from
// another in the size of their grants only.
func signets(few []int) (all []peer) {
	for _, s := range suites {
		var sizes []int
		if s.suite.PQ() {
			sizes = few
		}
		all = append(all, peer{name: "signet", more: "suite=" + s.name + "/auth=tags/epoch=inline", start: signet(s.suite, false, true), sizes: sizes})
	}
	return append(all,
		peer{name: "signet", more: "suite=aes-256-gcm/auth=tags/epoch=known", start: signet(envelope.AES256GCM, false, false)},
		peer{name: "signet", more: "suite=pq-aes-256-gcm/auth=tags/epoch=known", start: signet(envelope.PQAES256GCM, false, false), sizes: few},
		peer{name: "signet", more: "suite=aes-256-gcm/auth=signature/epoch=inline", start: signet(envelope.AES256GCM, true, true)},
	)
}

const (
	topic   = "orders.created"
	purpose = "bench"
)

// engine is a publisher's epoch and its readers.
type engine struct {
	params   *envelope.Params
	epoch    *envelope.Epoch
	inline   bool
	message  envelope.Message
	out      []byte
	messages [1][]byte

	own     []own
	readers []*envelope.Reader
	plain   []byte
	verify  func(digest, signature []byte) bool
}

// own is a recipient with its keys.
type own struct {
	id  string
	key envelope.OwnKey
}

// signet makes an engine whose messages are as those of broker/sealed: with the sender's
// card, and go-micro's two headers in the ciphertext. inline puts the epoch in front of
// each message, as broker/sealed does; without it the readers know the epoch already.
func signet(suite envelope.Suite, sign, inline bool) func(testing.TB, int) sealer {
	return func(tb testing.TB, n int) sealer {
		e := &engine{inline: inline}
		e.params, e.own = newParams(tb, suite, n)
		if sign {
			e.params.Sign, e.verify = signature(tb)
		}
		if err := e.renew(); err != nil {
			tb.Fatal(err)
		}
		e.message = envelope.Message{Topic: topic, Headers: []envelope.Field{
			{Name: "Content-Type", Value: "application/octet-stream"}, {Name: "Micro-Topic", Value: topic},
		}}
		first, err := e.epoch.Seal(nil, &envelope.Message{Topic: topic, Time: time.Now()}, [envelope.RandomSize]byte{}, true)
		if err != nil {
			tb.Fatal(err)
		}
		for _, o := range e.own {
			r, err := unwrap(first, o)
			if err != nil {
				tb.Fatal(err)
			}
			e.readers = append(e.readers, r)
		}
		return e
	}
}

func (e *engine) renew() (err error) {
	e.epoch, err = envelope.NewEpoch(e.params, rand.Reader)
	return err
}

func (e *engine) seal(body []byte) ([][]byte, error) {
	if e.epoch.Left() == 0 {
		if err := e.renew(); err != nil {
			return nil, err
		}
	}
	e.message.Time, e.message.Body = time.Now(), body
	var r [envelope.RandomSize]byte
	random(r[:])
	out, err := e.epoch.Seal(e.out[:0], &e.message, r, e.inline)
	e.out, e.messages[0] = out, out
	return e.messages[:], err
}

func (e *engine) open(messages [][]byte, i int) ([]byte, error) {
	parsed, err := envelope.Parse(messages[0])
	if err != nil {
		return nil, err
	}
	if need := parsed.PlainSize(); cap(e.plain) < need {
		e.plain = make([]byte, 0, need)
	}
	opened, err := e.readers[i].Open(e.plain[:0], parsed, topic, nil, e.verify)
	return opened.Body, err
}

// newParams are those of an epoch for n recipients, and the recipients' keys.
func newParams(tb testing.TB, suite envelope.Suite, n int) (*envelope.Params, []own) {
	tb.Helper()
	id := newIdentity(tb)
	card, err := id.CardWithoutPQ()
	if err != nil {
		tb.Fatal(err)
	}
	p := &envelope.Params{
		Suite: suite, Sender: id.ID(), SenderKey: id.BoxKeys()[0], Scope: "orders.*", Credential: card,
		Created: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}
	var all []own
	for i := range n {
		o := own{id: fmt.Sprintf("spiffe://shop.internal/r%d", i)}
		if o.key.X25519, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			tb.Fatal(err)
		}
		r := envelope.Recipient{ID: o.id, Key: o.key.X25519.PublicKey()}
		if suite.PQ() {
			if o.key.PQ, err = hpke.MLKEM768X25519().GenerateKey(); err != nil {
				tb.Fatal(err)
			}
			r.PQ = o.key.PQ.PublicKey().Bytes()
		}
		p.Recipients, all = append(p.Recipients, r), append(all, o)
	}
	return p, all
}

func newIdentity(tb testing.TB) *identity.Identity {
	tb.Helper()
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		tb.Fatal(err)
	}
	id, err := authority.Issue("shop")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { id.Close() })
	return id
}

// signature is what broker/sealed signs with: the P-256 key of a certificate.
func signature(tb testing.TB) (sign func([]byte) ([]byte, error), verify func(digest, signature []byte) bool) {
	id := newIdentity(tb)
	leaf := id.Peer().Certificate
	sign = func(digest []byte) ([]byte, error) { return id.Sign(purpose, digest) }
	verify = func(digest, signature []byte) bool {
		return identity.VerifySignature(leaf, purpose, signature, digest) == nil
	}
	return sign, verify
}

// unwrap opens the epoch of an envelope.
func unwrap(message []byte, o own) (*envelope.Reader, error) {
	parsed, err := envelope.Parse(message)
	if err != nil {
		return nil, err
	}
	h, err := envelope.ParseHeader(parsed.Header)
	if err != nil {
		return nil, err
	}
	return envelope.Unwrap(parsed, h, o.id, o.key)
}
