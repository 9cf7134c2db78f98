package envelope

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"
)

var update = flag.Bool("update", false, "make the test vectors anew")

const vectorsFile = "../../testdata/vectors/envelope.json"

type vectors struct {
	Version string   `json:"version"`
	Comment string   `json:"comment"`
	Vectors []vector `json:"vectors"`
}

type vector struct {
	Name      string    `json:"name"`
	Envelope  string    `json:"envelope"`
	Epoch     string    `json:"epoch,omitempty"` // an envelope that has brought the epoch before
	Recipient string    `json:"recipient"`
	Key       string    `json:"key"`
	PQKey     string    `json:"pqKey,omitempty"`
	Topic     string    `json:"topic"`
	Clear     []Field   `json:"clear"`
	Class     string    `json:"class"`
	Sender    string    `json:"sender,omitempty"`
	Time      time.Time `json:"time,omitzero"`
	Headers   []Field   `json:"headers,omitempty"`
	Body      string    `json:"body,omitempty"`
}

var classes = map[string]error{
	"malformed": ErrMalformed, "suite": ErrSuite, "limit": ErrLimit,
	"not-recipient": ErrNotRecipient, "key": ErrKey, "tampered": ErrTampered,
}

func classOf(err error) string {
	if err == nil {
		return "ok"
	}
	for class, target := range classes {
		if errors.Is(err, target) {
			return class
		}
	}
	return err.Error()
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	data, err := os.ReadFile(filepath.FromSlash(vectorsFile))
	if err != nil {
		t.Fatal(err)
	}
	var file vectors
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, v := range file.Vectors {
		seen[v.Class] = true
		key, err := ecdh.X25519().NewPrivateKey(unhex(t, v.Key))
		if err != nil {
			t.Fatal(err)
		}
		to := party{id: v.Recipient, key: key}
		if v.PQKey != "" {
			if to.pq, err = hpke.MLKEM768X25519().NewPrivateKey(unhex(t, v.PQKey)); err != nil {
				t.Fatal(err)
			}
		}
		m := &Message{Topic: v.Topic, Clear: v.Clear, Time: v.Time, Headers: v.Headers, Body: []byte(v.Body)}
		raw, known := unhex(t, v.Envelope), unhex(t, v.Epoch)
		var got Opened
		if v.Epoch == "" {
			known = raw
			got, err = open(raw, to, m, nil)
		} else {
			got, err = openLean(raw, newReader(t, known, to), m, nil)
		}
		if class := classOf(err); class != v.Class {
			t.Errorf("%s: %s (%v); want %s", v.Name, class, err, v.Class)
			continue
		}
		if err == nil {
			same(t, got, m)
			if sender := newReader(t, known, to).Header.Sender; sender != v.Sender {
				t.Errorf("%s: from %s", v.Name, sender)
			}
		}
	}
	for class := range classes {
		if !seen[class] {
			t.Errorf("no vector of class %s", class)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// stream is randomness that is the same each time.
type stream struct {
	seed string
	n    uint64
}

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		if i%sha256.Size == 0 {
			s.n++
		}
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(s.seed), s.n))
		p[i] = sum[i%sha256.Size]
	}
	return len(p), nil
}

func fixedParty(t *testing.T, service string) party {
	t.Helper()
	raw := make([]byte, keySize)
	_, _ = (&stream{seed: service}).Read(raw)
	k, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	pq, err := hpke.MLKEM768X25519().DeriveKeyPair(append(raw, "pq"...))
	if err != nil {
		t.Fatal(err)
	}
	return party{"spiffe://shop.internal/" + service, k, pq}
}

// writeVectors makes them: run it with -update, and read what has changed.
func writeVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	sender, billing, shipping := fixedParty(t, "shop"), fixedParty(t, "billing"), fixedParty(t, "shipping")
	m := message("hello")
	file := vectors{Version: "signet/envelope/v1", Comment: "spec/envelope.md; envelope and key are hexadecimal"}
	sealed := func(suite Suite, to ...party) []byte {
		p := params(sender, to...)
		p.Suite, p.Credential = suite, []byte("a card")
		e, err := NewEpoch(p, &stream{seed: fmt.Sprint("epoch", suite, len(to))})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := e.Seal(nil, m, [RandomSize]byte{1, 2, 3, 4, 5, 6, 7, 8}, true)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	add := func(name, class string, raw []byte, change func(*vector)) {
		v := vector{
			Name: name, Class: class, Envelope: hex.EncodeToString(raw), Recipient: billing.id,
			Key: hex.EncodeToString(billing.key.Bytes()), Topic: m.Topic, Clear: m.Clear,
		}
		if len(raw) > len(magic)+1 && Suite(raw[len(magic)+1]).PQ() {
			seed, err := billing.pq.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			v.PQKey = hex.EncodeToString(seed)
		}
		if class == "ok" {
			v.Sender, v.Time, v.Headers, v.Body = sender.id, m.Time, m.Headers, string(m.Body)
		}
		if change != nil {
			change(&v)
		}
		file.Vectors = append(file.Vectors, v)
	}
	one, two := sealed(AES256GCM, billing), sealed(AES256GCM, shipping, billing)
	at := func(raw []byte, i int, b byte) []byte {
		out := bytes.Clone(raw)
		out[i] = b
		return out
	}
	add("AES-256-GCM, pairwise", "ok", one, nil)
	add("AES-256-GCM, tagged", "ok", two, nil)
	add("ChaCha20-Poly1305, tagged", "ok", sealed(ChaCha20Poly1305, shipping, billing), nil)
	pq := sealed(PQAES256GCM, shipping, billing)
	add("MLKEM768-X25519 and AES-256-GCM, tagged", "ok", pq, nil)
	add("MLKEM768-X25519 and ChaCha20-Poly1305, pairwise", "ok", sealed(PQChaCha20Poly1305, billing), nil)
	lean := without(t, one)
	add("its epoch left out, and known", "ok", lean, func(v *vector) { v.Epoch = hex.EncodeToString(one) })
	add("its epoch left out, and not known", "not-recipient", lean, nil)
	add("its epoch left out, tagged", "ok", without(t, two), func(v *vector) { v.Epoch = hex.EncodeToString(two) })
	add("another epoch is known", "tampered", lean, func(v *vector) { v.Epoch = hex.EncodeToString(two) })
	add("the flag cleared, and the epoch there", "malformed", at(one, flagsAt, 0), func(v *vector) { v.Epoch = hex.EncodeToString(one) })
	add("without the post-quantum key", "not-recipient", pq, func(v *vector) { v.PQKey = "" })
	add("an encapsulation that was changed", "tampered", at(pq, bytes.Index(pq, grantsOf(t, pq))+int(PQAES256GCM.grantSize()), 0), nil)
	add("truncated", "malformed", one[:len(one)/2], nil)
	add("extended", "malformed", append(bytes.Clone(one), 0), nil)
	add("unknown flag", "malformed", at(one, flagsAt, 3), nil)
	add("unknown version", "suite", at(one, len(magic), 2), nil)
	add("unknown suite", "suite", at(one, len(magic)+1, 9), nil)
	add("too many clear headers", "limit", at(one, prefixSize-1, MaxClearHeaders+1), nil)
	add("another recipient", "not-recipient", sealed(AES256GCM, shipping), nil)
	add("another ID", "tampered", one, func(v *vector) { v.Recipient = shipping.id })
	add("another topic", "tampered", one, func(v *vector) { v.Topic = "orders.deleted" })
	add("another clear header", "tampered", one, func(v *vector) { v.Clear = []Field{m.Clear[0], {"Trace", "xyz"}} })
	add("another counter", "tampered", at(one, len(magic)+3+EpochIDSize+3, 1), nil)
	add("another epoch", "tampered", at(one, len(magic)+3, one[len(magic)+3]^1), nil)
	add("a tag that was changed", "tampered", at(two, len(two)-1, two[len(two)-1]^1), nil)
	add("an ephemeral key of low order", "key", bytes.Replace(one, ephemeralOf(t, one), make([]byte, keySize), 1), nil)
	data, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.FromSlash(vectorsFile), append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func grantsOf(t *testing.T, raw []byte) []byte {
	t.Helper()
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return e.Grants
}

func ephemeralOf(t *testing.T, raw []byte) []byte {
	t.Helper()
	e, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHeader(e.Header)
	if err != nil {
		t.Fatal(err)
	}
	return h.Ephemeral
}

// TestSpec: the numbers on the page are those of the code.
func TestSpec(t *testing.T) {
	data, err := os.ReadFile("../../spec/envelope.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, line := range []string{
		fmt.Sprintf("Magic (%d) = %q", 8*len(magic), magic),
		fmt.Sprintf("Version (8) = %d", version),
		fmt.Sprintf("Epoch ID (%d)", 8*EpochIDSize),
		fmt.Sprintf("Counter (%d)", 8*counterSize),
		fmt.Sprintf("Random (%d)", 8*RandomSize),
		fmt.Sprintf("[Encapsulation (%d)]", 8*encapsulationSize),
		fmt.Sprintf("Wrapped Key (%d)", 8*wrappedSize),
		fmt.Sprintf("Sender Key (%d)", 8*keySize),
		fmt.Sprintf("Key ID (%d)", 8*keyIDSize),
		fmt.Sprintf("%d: AES-256-GCM", AES256GCM),
		fmt.Sprintf("%d: ChaCha20-Poly1305", ChaCha20Poly1305),
		fmt.Sprintf("%d, %d: the same with MLKEM768-X25519", PQAES256GCM, PQChaCha20Poly1305),
		fmt.Sprintf("0x%02x: header and grants are there", flagEpoch),
		fmt.Sprintf("%d: pairwise, for one key; %d: tagged; %d: signed", Pairwise, Tagged, Signed),
		fmt.Sprintf("the first %d bytes of SHA-256", keyIDSize),
		fmt.Sprintf("| recipient keys | 1 to %d |", MaxRecipients),
		fmt.Sprintf("| messages of an epoch | 1 to %d |", MaxMessages),
		fmt.Sprintf("| envelope | %d bytes |", MaxSize),
		fmt.Sprintf("| sender ID, scope | 1 to %d bytes each |", MaxName),
		fmt.Sprintf("| topic | 1 to %d bytes |", MaxTopic),
		fmt.Sprintf("| clear headers | %d |", MaxClearHeaders),
		fmt.Sprintf("| values of clear headers together | %d bytes |", MaxClearValues),
		fmt.Sprintf("| headers | %d |", MaxHeaders),
		fmt.Sprintf("| credential | 0 to %d bytes |", MaxCredential),
		fmt.Sprintf("| header name | 1 to %d bytes |", MaxHeaderName),
		fmt.Sprintf("| signature | 1 to %d bytes |", MaxSignature),
		fmt.Sprintf("the first %d bytes of HMAC-SHA-256", tagSize),
		strings.TrimSuffix(labelWrap, "\x00"), strings.TrimSuffix(labelCommit, "\x00"),
		strings.TrimSuffix(labelPayload, "\x00"), strings.TrimSuffix(labelTag, "\x00"),
		strings.TrimSuffix(labelPQ, "\x00"), strings.TrimSuffix(labelKeyID, "\x00"), strings.TrimSuffix(labelExport, "\x00"),
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	for class := range classes {
		if !strings.Contains(page, "| "+class+" | ") {
			t.Errorf("the page lacks class %s", class)
		}
	}
}
