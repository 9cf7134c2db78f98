package encrypted

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/go-signet/signet/internal/effort"
	"github.com/go-signet/signet/internal/envelope"
)

var update = flag.Bool("update", false, "make the test vectors anew")

const vectorsFile = "../../testdata/vectors/codec.json"

type vectorFile struct {
	Version string   `json:"version"`
	Comment string   `json:"comment"`
	Vectors []vector `json:"vectors"`
}

// vector is a request and, where Answer is there, an answer to it.
type vector struct {
	Name        string `json:"name"`
	Class       string `json:"class"`
	Recipient   string `json:"recipient"`
	Key         string `json:"key"`
	Service     string `json:"service"`
	Method      string `json:"method"`
	Endpoint    string `json:"endpoint"`
	ContentType string `json:"contentType"`
	Stream      bool   `json:"stream"`
	// Epoch is a request that has brought the epoch, if this one does not.
	Epoch string `json:"epoch,omitempty"`
	// Opens is the request that opened the stream, if this is a later one, and Message
	// which it is.
	Opens    string `json:"opens,omitempty"`
	Message  uint64 `json:"message,omitempty"`
	Request  string `json:"request"`
	Answer   string `json:"answer,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Body     string `json:"body,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (v *vector) target() target {
	return target{service: v.Service, method: v.Method, endpoint: v.Endpoint, contentType: v.ContentType, stream: v.Stream}
}

// check does what the receiver of a vector does.
func (v *vector) check(t *testing.T) (body, text string, err error) {
	t.Helper()
	key, err := ecdh.X25519().NewPrivateKey(unhex(t, v.Key))
	if err != nil {
		t.Fatal(err)
	}
	env, err := envelope.Parse(unhex(t, v.Request))
	if err != nil {
		return "", "", err
	}
	inline := env
	var l *later
	if v.Epoch != "" {
		if inline, err = envelope.Parse(unhex(t, v.Epoch)); err != nil {
			return "", "", err
		}
	}
	if v.Opens != "" {
		if inline, err = envelope.Parse(unhex(t, v.Opens)); err != nil {
			return "", "", err
		}
		l = &later{inline.Binding(), v.Message}
	}
	h, err := envelope.ParseHeader(inline.Header)
	if err != nil {
		return "", "", err
	}
	if !inScope(h.Scope, scopeCall+v.Service) {
		return "", "", reject(Misdirected, "scope %s", h.Scope)
	}
	r, err := envelope.Unwrap(inline, h, v.Recipient, envelope.OwnKey{X25519: key})
	if err != nil {
		return "", "", err
	}
	topic, err := topicOf(v.target(), l)
	if err != nil {
		return "", "", err
	}
	opened, err := r.Open(nil, env, topic, nil, nil)
	if err != nil || v.Answer == "" {
		return string(opened.Body), "", err
	}
	kind, plain, err := openAnswer(unhex(t, v.Answer), &question{env.Binding(), v.Sequence, new(boundSpace)}, func(salt [saltSize]byte) (cipher.AEAD, error) {
		return answerAEAD(r.Export, h.Suite, salt)
	})
	if kind == answerError {
		return "", string(plain), err
	}
	return string(plain), "", err
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// vectorClasses are the reasons that vectors can show: the others depend on time, on
// state, or on who is known.
var vectorClasses = []Reason{Clear, Malformed, Suite, Misdirected, NotRecipient, Tampered}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	data, err := os.ReadFile(filepath.FromSlash(vectorsFile))
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, v := range file.Vectors {
		seen[v.Class] = true
		body, text, err := v.check(t)
		class := "ok"
		if err != nil {
			class = string(reasonOf(err))
		}
		if class != v.Class {
			t.Errorf("%s: %s (%v), want %s", v.Name, class, err, v.Class)
		} else if err == nil && (body != v.Body || text != v.Error) {
			t.Errorf("%s: body %q, error %q; want %q and %q", v.Name, body, text, v.Body, v.Error)
		}
	}
	for _, class := range vectorClasses {
		if !seen[string(class)] {
			t.Errorf("no vector of class %s", class)
		}
	}
}

func fixedKey(t *testing.T, name string) *ecdh.PrivateKey {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	k, err := ecdh.X25519().NewPrivateKey(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// writeVectors makes them: run it with -update, and read what has changed.
func writeVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	const service = "greeter"
	id := "spiffe://shop.internal/" + service
	greeter, other, web := fixedKey(t, "greeter"), fixedKey(t, "another greeter"), fixedKey(t, "web")
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	file := vectorFile{Version: "signet/codec/v1", Comment: "spec/codec.md; requests, answers and keys are hexadecimal"}
	epochOf := func(suite envelope.Suite, scope string, keys ...*ecdh.PrivateKey) *envelope.Epoch {
		p := &envelope.Params{
			Suite: suite, Sender: "spiffe://shop.internal/web", SenderKey: web, Scope: scope, Created: at, NotAfter: at.Add(epochLifetime),
			Most: epochMessages, Credential: []byte("a card"),
		}
		for _, k := range keys {
			p.Recipients = append(p.Recipients, envelope.Recipient{ID: id, Key: k.PublicKey()})
		}
		e, err := envelope.NewEpoch(p, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	base := vector{
		Class: "ok", Recipient: id, Key: hex.EncodeToString(greeter.Bytes()), Service: service, Method: "Greeter.Hello", Endpoint: "Greeter.Hello",
		ContentType: ContentTypeJSON, Body: `{"name":"John"}`,
	}
	seal := func(e *envelope.Epoch, v *vector, l *later, inline bool) []byte {
		topic, err := topicOf(v.target(), l)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := e.Seal(nil, &envelope.Message{Topic: topic, Time: at, Body: []byte(`{"name":"John"}`)}, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, inline)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	add := func(name, class string, change func(*vector)) {
		v := base
		v.Name, v.Class = name, class
		change(&v)
		if class != "ok" {
			v.Body, v.Error = "", ""
		}
		file.Vectors = append(file.Vectors, v)
	}
	e := epochOf(envelope.AES256GCM, scopeCall+service, greeter)
	raw := seal(e, &base, nil, true)
	base.Request = hex.EncodeToString(raw)
	add("a call", "ok", func(*vector) {})
	add("a call, ChaCha20-Poly1305, two keys", "ok", func(v *vector) {
		v.Request = hex.EncodeToString(seal(epochOf(envelope.ChaCha20Poly1305, scopeCall+service, other, greeter), v, nil, true))
	})
	lean := seal(e, &base, nil, false)
	again, err := e.Inline(lean)
	if err != nil {
		t.Fatal(err)
	}
	add("a call without its epoch", "ok", func(v *vector) { v.Epoch, v.Request = v.Request, hex.EncodeToString(lean) })
	add("the same, sent once more", "ok", func(v *vector) { v.Request = hex.EncodeToString(again) })
	add("another endpoint", "tampered", func(v *vector) { v.Endpoint = "Greeter.Goodbye" })
	add("another method", "tampered", func(v *vector) { v.Method = "Greeter.Goodbye" })
	add("another content type", "tampered", func(v *vector) { v.ContentType = ContentTypeProto })
	add("made a stream", "tampered", func(v *vector) { v.Stream = true })
	add("another service", "misdirected", func(v *vector) { v.Service = "billing" })
	add("sealed for events", "misdirected", func(v *vector) {
		v.Request = hex.EncodeToString(seal(epochOf(envelope.AES256GCM, scopeEvent+service, greeter), v, nil, true))
	})
	add("sealed to another key", "not-recipient", func(v *vector) { v.Key = hex.EncodeToString(other.Bytes()) })
	add("truncated", "malformed", func(v *vector) { v.Request = v.Request[:len(v.Request)-2] })
	opener := base
	opener.Stream = true
	open := seal(e, &opener, nil, true)
	parsed, err := envelope.Parse(open)
	if err != nil {
		t.Fatal(err)
	}
	stream := func(v *vector) {
		v.Stream, v.Opens, v.Message = true, hex.EncodeToString(open), 1
		v.Request = hex.EncodeToString(seal(e, v, &later{parsed.Binding(), 1}, false))
	}
	add("opens a stream", "ok", func(v *vector) { v.Stream, v.Request = true, hex.EncodeToString(open) })
	add("the second message of a stream", "ok", stream)
	add("as the third", "tampered", func(v *vector) { stream(v); v.Message = 2 })
	add("of another stream", "tampered", func(v *vector) {
		stream(v)
		v.Opens = hex.EncodeToString(seal(e, &opener, nil, true))
	})

	reader := func(raw []byte) (*envelope.Reader, *envelope.Envelope) {
		env, err := envelope.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		h, err := envelope.ParseHeader(env.Header)
		if err != nil {
			t.Fatal(err)
		}
		r, err := envelope.Unwrap(env, h, id, envelope.OwnKey{X25519: greeter})
		if err != nil {
			t.Fatal(err)
		}
		return r, env
	}
	r, env := reader(raw)
	k, err := newAnswerKey(r)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(sequence uint64, kind byte, text string) []byte {
		out, err := k.seal(nil, &question{env.Binding(), sequence, new(boundSpace)}, kind, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const greeting = `{"greeting":"Hello John"}`
	first, second := answer(0, answerBody, greeting), answer(1, answerBody, greeting)
	answered := func(data []byte, sequence uint64) func(*vector) {
		return func(v *vector) { v.Answer, v.Sequence, v.Body = hex.EncodeToString(data), sequence, greeting }
	}
	at2 := func(data []byte, i int, b byte) []byte {
		out := bytes.Clone(data)
		out[i] = b
		return out
	}
	add("an answer", "ok", answered(first, 0))
	add("the second answer of a stream", "ok", answered(second, 1))
	add("an error", "ok", func(v *vector) {
		answered(answer(0, answerError, "no such name"), 0)(v)
		v.Body, v.Error = "", "no such name"
	})
	add("the second answer as the first", "tampered", answered(second, 0))
	add("an answer to another request", "tampered", func(v *vector) {
		answered(first, 0)(v)
		v.Request = hex.EncodeToString(seal(e, v, nil, true))
	})
	add("another salt", "tampered", answered(at2(first, 5, first[5]^1), 0))
	add("another counter", "tampered", answered(at2(first, 24, first[24]^1), 0))
	add("a changed answer", "tampered", answered(at2(first, len(first)-1, first[len(first)-1]^1), 0))
	add("an answer of an unknown version", "suite", answered(at2(first, len(answerMagic), 2), 0))
	add("an answer of an unknown kind", "malformed", answered(answer(0, 2, greeting), 0))
	add("an answer in clear", "clear", answered([]byte(greeting+greeting+greeting), 0))
	add("the request as the answer", "clear", answered(raw, 0))
	data, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.FromSlash(vectorsFile), append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSpec: the numbers on the page are those of the code.
func TestSpec(t *testing.T) {
	data, err := os.ReadFile("../../spec/codec.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, line := range []string{
		ContentTypeJSON, ContentTypeProto, ContentTypeBytes,
		fmt.Sprintf("`%s`", strings.TrimSpace(scopeMessage)),
		fmt.Sprintf("`%s` ‖ service", scopeCall), fmt.Sprintf("`%s` ‖ topic", scopeEvent),
		fmt.Sprintf("Magic (32) = %q", answerMagic), fmt.Sprintf("Version (8) = %d", answerVersion),
		fmt.Sprintf("Salt (%d)", 8*saltSize), fmt.Sprintf("Counter (%d)", 8*counterSize), fmt.Sprintf("Random (%d)", 8*envelope.RandomSize),
		fmt.Sprintf("Sequence (%d)", 8*sequenceSize), fmt.Sprintf("Binding (%d)", 8*envelope.BindingSize),
		strings.TrimSuffix(labelAnswer, "\x00"),
		fmt.Sprintf("%d: a call; %d: opens a stream; %d: a later message of one; %d: an event; %d: a marshaled message", kindCall, kindOpen, kindStream, kindEvent, kindMessage),
		fmt.Sprintf("%d: a body; %d: the text of an error", answerBody, answerError),
		fmt.Sprintf("| topic | %d bytes |", envelope.MaxTopic), fmt.Sprintf("| answer | %d bytes |", MaxAnswer),
		fmt.Sprintf("| messages of an epoch, as sent | %d |", epochMessages), fmt.Sprintf("| an epoch, as sent | %d minutes |", int(epochLifetime.Minutes())),
		fmt.Sprintf("| an epoch, as accepted | %d hours |", int(longestEpoch.Hours())),
		fmt.Sprintf("| body of a request without its epoch, encoded | %d bytes |", maxLean), fmt.Sprintf("| nodes that an epoch is known to, as a client remembers | %d |", maxNodes),
		fmt.Sprintf("2^(n-1) - 1 more bring it, and %d at most", 1<<maxPatience-1),
		fmt.Sprintf("| age of a request | %d minutes |", int(DefaultMaxAge.Minutes())), fmt.Sprintf("| age of an event | %d hours |", int(DefaultEventAge.Hours())),
		fmt.Sprintf("| clock ahead | %d minute |", int(ClockSkew.Minutes())),
		fmt.Sprintf("| epochs that a server remembers | %d, %d of a sender |", MaxEpochs, MaxSenderEpochs),
		fmt.Sprintf("| replay window | %d MiB, %d MiB of a sender |", MaxReplayMemory>>20, MaxSenderReplayMemory>>20),
		fmt.Sprintf("| new epochs | %d a second, after %d at once; in one sender's name %d and %d; junk counts as %d |", effort.PerSecond, effort.Burst, effort.NamePerSecond, effort.NameBurst, effort.Junk),
		refusal,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	for _, class := range vectorClasses {
		if !strings.Contains(page, "| "+string(class)+" | ") {
			t.Errorf("the page lacks class %s", class)
		}
	}
}
