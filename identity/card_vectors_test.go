package identity

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/internal/keys"
)

var update = flag.Bool("update", false, "make the test vectors anew")

const vectorsFile = "../testdata/vectors/card.json"

type cardVectors struct {
	Version string       `json:"version"`
	Comment string       `json:"comment"`
	Now     time.Time    `json:"now"`
	CA      string       `json:"ca"`
	CRL     string       `json:"crl"`
	Vectors []cardVector `json:"vectors"`
}

type cardVector struct {
	Name  string    `json:"name"`
	Card  string    `json:"card"`
	Class string    `json:"class"`
	ID    string    `json:"id,omitempty"`
	Keys  []keyPair `json:"keys,omitempty"` // sorted
	Until time.Time `json:"until,omitzero"`
}

// keyPair is in hexadecimal; PQ is "" if there is none.
type keyPair struct {
	X25519 string `json:"x25519"`
	PQ     string `json:"pq,omitempty"`
}

func pairOf(x25519, pq []byte) keyPair {
	return keyPair{hex.EncodeToString(x25519), hex.EncodeToString(pq)}
}

func comparePairs(a, b keyPair) int {
	return cmp.Or(strings.Compare(a.X25519, b.X25519), strings.Compare(a.PQ, b.PQ))
}

var cardClasses = map[string]error{
	"malformed": ErrCard, "signature": ErrSignature, "untrusted": ErrUntrusted, "not-spiffe": ErrNotSPIFFE,
	"revoked": ErrRevoked, "expired": ErrExpired, "not-yet-valid": ErrNotYetValid,
}

// classOf names what came of a card. A revoked or foreign leaf is more than
// malformed, so the order matters for errors that wrap several.
func classOf(err error) string {
	if err == nil {
		return "ok"
	}
	for _, class := range []string{"malformed", "signature", "revoked", "expired", "not-yet-valid", "not-spiffe", "untrusted"} {
		if errors.Is(err, cardClasses[class]) {
			return class
		}
	}
	return err.Error()
}

// TestCardVectors reads the vectors at the time that they are for: the clock of a
// bubble starts at the beginning of the year 2000.
func TestCardVectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if *update {
			writeVectors(t)
			return
		}
		data, err := os.ReadFile(filepath.FromSlash(vectorsFile))
		if err != nil {
			t.Fatal(err)
		}
		var file cardVectors
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(file.Now))
		seen := make(map[string]bool)
		for _, v := range file.Vectors {
			reader := reader(t, file)
			card, err := hex.DecodeString(v.Card)
			if err != nil {
				t.Fatal(err)
			}
			err = reader.AddCard(card)
			if got := classOf(err); got != v.Class {
				t.Errorf("%s: %s (%v); want %s", v.Name, got, err, v.Class)
			}
			seen[v.Class] = true
			var got []keyPair
			for _, key := range reader.Directory().KeysOf(v.ID) {
				got = append(got, pairOf(key.Key.Bytes(), key.PQ))
				if !key.Until.Equal(v.Until) {
					t.Errorf("%s: key until %v; want %v", v.Name, key.Until, v.Until)
				}
			}
			if !slices.Equal(got, v.Keys) {
				t.Errorf("%s: keys %v; want %v", v.Name, got, v.Keys)
			}
			if parsed, err := parseCard(card); err == nil && !bytes.Equal(parsed.encode(), card) {
				t.Errorf("%s: encodes otherwise", v.Name)
			}
			reader.Close()
		}
		for class := range cardClasses {
			if !seen[class] {
				t.Errorf("no vector of class %s", class)
			}
		}
	})
}

// reader makes a receiver of another trust domain, federated with that of the
// vectors.
func reader(t *testing.T, file cardVectors) *Identity {
	t.Helper()
	a, err := NewAuthority("reader.org")
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Issue("reader")
	if err != nil {
		t.Fatal(err)
	}
	cas, err := keys.ParseCertificates([]byte(file.CA), 1)
	if err != nil {
		t.Fatal(err)
	}
	crls, err := keys.ParseCRLs([]byte(file.CRL), cas, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	shop, err := keys.NewDomainTrust("shop.internal", cas, crls)
	if err != nil {
		t.Fatal(err)
	}
	id.replace(func(was *state) *state {
		next, set := *was, *was.set
		if set.Trust, err = keys.NewTrust(was.set.Trust.Home(), shop); err != nil {
			t.Fatal(err)
		}
		next.set = &set
		return &next
	})
	return id
}

// writeVectors makes the vectors anew, with new keys.
func writeVectors(t *testing.T) {
	t.Helper()
	a, err := NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(service string, opts ...IssueOption) *Identity {
		id, err := a.Issue(service, append(opts, ValidFor(365*24*time.Hour))...)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	greeter, modern, revoked := issue("shop/greeter"), issue("modern", Ed25519()), issue("revoked")
	short, err := a.Issue("short", ValidFor(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Issue("shop/greeter", ValidFor(365*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(revoked); err != nil {
		t.Fatal(err)
	}
	time.Sleep(24 * time.Hour)
	now := time.Now()
	file := cardVectors{
		Version: "signet/card/v1", Comment: "spec/card.md; card is hexadecimal",
		Now: now, CA: string(keys.EncodeCertificates(a.Certificate())), CRL: string(a.trust.Load().EncodeCRLs()),
	}
	statement := func(id *Identity) card {
		state := id.now.Load()
		return card{
			id: id.ID(), issued: now.Unix(), expires: now.Add(24 * time.Hour).Unix(),
			keys: []cardKey{{x25519: ownKey(id).x25519}}, certs: [][]byte{state.set.Leaf().Raw},
		}
	}
	signed := func(id *Identity, modify func(*card)) []byte {
		c := statement(id)
		if modify != nil {
			modify(&c)
		}
		c.statement = c.encodeStatement()
		if c.signature, err = id.now.Load().sign(cardPurpose, c.statement); err != nil {
			t.Fatal(err)
		}
		return c.encode()
	}
	add := func(name, class string, data []byte) {
		v := cardVector{Name: name, Class: class, Card: hex.EncodeToString(data)}
		if class == "ok" {
			c, err := parseCard(data)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(c.certs[0])
			if err != nil {
				t.Fatal(err)
			}
			v.ID, v.Until = c.id, time.Unix(min(c.expires, leaf.NotAfter.Unix()), 0).UTC()
			for _, key := range c.keys {
				v.Keys = append(v.Keys, pairOf(key.x25519, key.pq))
			}
			slices.SortFunc(v.Keys, comparePairs)
		}
		file.Vectors = append(file.Vectors, v)
	}
	good := signed(greeter, nil)
	at := func(i int, b byte) []byte {
		data := bytes.Clone(good)
		data[i] ^= b
		return data
	}
	eight := make([]cardKey, maxCardKeys)
	for i := range eight {
		eight[i] = newPair(t)
	}
	keysAt := cardHeaderSize + cardLengthSize + cardLengthSize + len(greeter.ID()) + 2*cardTimeSize
	pair := func(modify func(*card)) []byte {
		return signed(greeter, func(c *card) {
			if c.keys[0] = ownKey(greeter); modify != nil {
				modify(c)
			}
		})
	}
	formAt, pqAt := keysAt+cardCountSize+boxKeySize, keysAt+cardCountSize+boxKeySize+cardFormSize
	changed := func(data []byte, at int, to ...byte) []byte {
		copy(data[at:], to)
		return data
	}
	add("P-256", "ok", good)
	add("Ed25519", "ok", signed(modern, nil))
	add("a post-quantum key", "ok", pair(nil))
	add("a key with and one without a post-quantum key", "ok", pair(func(c *card) { c.keys = append(c.keys, cardKey{x25519: newPair(t).x25519}) }))
	add("two post-quantum keys for one X25519 key", "ok", pair(func(c *card) { c.keys = append(c.keys, cardKey{c.keys[0].x25519, newPair(t).pq}) }))
	add("eight keys", "ok", signed(greeter, func(c *card) { c.keys = eight }))
	add("issued half a minute ahead", "ok", signed(greeter, func(c *card) { c.issued += 30 }))
	add("as long as may be", "ok", signed(greeter, func(c *card) { c.expires = c.issued + int64(maxCardLifetime/time.Second) }))
	add("empty", "malformed", nil)
	add("another magic", "malformed", at(0, 0x20))
	add("another version", "malformed", at(len(cardMagic), 3))
	add("truncated", "malformed", good[:len(good)-1])
	add("a byte too many", "malformed", append(bytes.Clone(good), 0))
	add("no keys", "malformed", signed(greeter, func(c *card) { c.keys = nil }))
	add("nine keys", "malformed", signed(greeter, func(c *card) { c.keys = slices.Repeat(c.keys, maxCardKeys+1) }))
	add("a key count too large", "malformed", at(keysAt, 3))
	add("no certificates", "malformed", signed(greeter, func(c *card) { c.certs = nil }))
	add("nine certificates", "malformed", signed(greeter, func(c *card) { c.certs = slices.Repeat(c.certs, 9) }))
	add("not a certificate", "malformed", signed(greeter, func(c *card) { c.certs = [][]byte{[]byte("hello")} }))
	add("no ID", "malformed", signed(greeter, func(c *card) { c.id = "" }))
	add("malformed ID", "malformed", signed(greeter, func(c *card) { c.id = "spiffe://shop.internal/shop/../greeter" }))
	add("another's ID", "malformed", signed(greeter, func(c *card) { c.id = "spiffe://shop.internal/billing" }))
	add("too long a life", "malformed", signed(greeter, func(c *card) { c.expires = c.issued + int64(maxCardLifetime/time.Second) + 1 }))
	add("no life", "malformed", signed(greeter, func(c *card) { c.expires = c.issued }))
	add("time beyond 9999", "malformed", signed(greeter, func(c *card) { c.issued, c.expires = 1<<60, 1<<60+1 }))
	add("key of low order", "malformed", signed(greeter, func(c *card) { c.keys = append(c.keys, cardKey{x25519: make([]byte, boxKeySize)}) }))
	add("post-quantum key that is not reduced", "malformed", pair(func(c *card) {
		copy(c.keys[0].pq, []byte{0xff, 0xff, 0xff}) // 12 bits a coefficient: the modulus is 3329
	}))
	add("post-quantum key with an X25519 half of low order", "malformed", pair(func(c *card) { clear(c.keys[0].pq[PQKeySize-boxKeySize:]) }))
	add("post-quantum key a byte short", "malformed", pair(func(c *card) { c.keys[0].pq = c.keys[0].pq[1:] }))
	add("form without the post-quantum key that is there", "malformed", changed(pair(nil), formAt, cardClassicKey))
	add("form with a post-quantum key that is not there", "malformed", changed(signed(greeter, nil), formAt, cardPairKey))
	add("unknown form", "malformed", changed(signed(greeter, nil), formAt, 2))
	add("key changed", "signature", at(keysAt+1, 1))
	add("post-quantum key of another", "signature", changed(pair(nil), pqAt, newPair(t).pq...))
	add("expiry changed", "signature", at(keysAt-1, 1))
	add("signature changed", "signature", at(len(good)-1, 1))
	add("signed for another purpose", "signature", func() []byte {
		c := statement(greeter)
		c.statement = c.encodeStatement()
		c.signature, err = greeter.now.Load().sign("registry-record", c.statement)
		return c.encode()
	}())
	add("signed by another", "signature", func() []byte {
		c := statement(greeter)
		c.statement = c.encodeStatement()
		c.signature, err = modern.now.Load().sign(cardPurpose, c.statement)
		return c.encode()
	}())
	add("CA of the same name", "untrusted", signed(foreign, nil))
	add("the CA's certificate first", "not-spiffe", signed(greeter, func(c *card) { c.certs = [][]byte{a.Certificate().Raw, c.certs[0]} }))
	add("revoked", "revoked", signed(revoked, nil))
	add("ended", "expired", signed(greeter, func(c *card) { c.issued -= 7200; c.expires = now.Unix() }))
	add("leaf ended", "expired", signed(short, nil))
	add("issued two minutes ahead", "not-yet-valid", signed(greeter, func(c *card) { c.issued += 120 }))

	out, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.FromSlash(vectorsFile), append(out, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ownKey is a copy.
func ownKey(id *Identity) cardKey {
	own := id.SealKeys()[0].Public()
	return cardKey{own.X25519.Bytes(), own.PQ}
}

func newPair(t *testing.T) cardKey {
	t.Helper()
	key, err := keys.NewBoxKey()
	if err != nil {
		t.Fatal(err)
	}
	pq, err := keys.NewPQKey()
	if err != nil {
		t.Fatal(err)
	}
	return cardKey{key.PublicKey().Bytes(), pq.PublicKey().Bytes()}
}
