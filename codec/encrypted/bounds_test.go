package encrypted

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/codec/grpc"
	"go-micro.dev/v4/codec/json"

	"github.com/go-signet/signet/internal/effort"
	"github.com/go-signet/signet/internal/envelope"
)

// sealCall seals one call with the client's epoch.
func sealCall(t testing.TB, e *engine) []byte {
	t.Helper()
	var w wire
	if err := e.newCodec(json.NewCodec)(&w).Write(call(nil), &struct{ Name string }{"John"}); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(w.out.Bytes())
}

func openCall(e *engine, data []byte, now time.Time) error {
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		return err
	}
	return new(openedMessage).openOnce(e, data, scopeCall+"greeter", topic, now, func() error { return nil })
}

// newEpochs makes the client take a new epoch.
func newEpoch(e *engine) {
	for _, o := range e.out.calls {
		o.now.Store(nil)
	}
}

// TestReplayWindowIsForgotten: an epoch is forgotten only when nothing of it can be
// replayed any more, and comes in again where it is still used.
func TestReplayWindowIsForgotten(t *testing.T) {
	client, server := ends(t)
	first := sealCall(t, client)
	now := time.Now()
	if err := openCall(server, first, now); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, time.Minute, DefaultMaxAge, DefaultMaxAge + ClockSkew, DefaultMaxAge + 2*ClockSkew + time.Second, time.Hour} {
		at := now.Add(later)
		server.in.mu.Lock()
		server.in.sweep(at, server.o.maxAge, false)
		known := len(server.in.epochs)
		server.in.mu.Unlock()
		if gone := later > DefaultMaxAge+2*ClockSkew; gone != (known == 0) {
			t.Errorf("after %v %d epochs are known", later, known)
		}
		err := openCall(server, first, at)
		if reason := reasonOf(err); err == nil || reason != Replay && reason != Stale {
			t.Errorf("after %v: %v", later, err)
		}
	}
	if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
		t.Errorf("the epoch does not come in again: %v", err)
	}
	if n := len(server.in.senders); n != 1 {
		t.Errorf("%d senders are counted", n)
	}
}

// TestForgottenWhileOpening: an epoch that is forgotten between finding it and taking
// its replay window is looked for again.
func TestForgottenWhileOpening(t *testing.T) {
	client, server := ends(t)
	if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, r := range server.in.epochs {
		if state, gone := r.begin(7, time.Now()); gone || state != envelope.Unseen {
			t.Errorf("state %v, gone %v", state, gone)
		}
		if !r.forget(time.Now().Add(time.Hour), time.Minute, false) {
			t.Error("it is not forgotten")
		}
		if _, gone := r.begin(8, time.Now()); !gone {
			t.Error("a window that is forgotten takes a message")
		}
	}
}

// TestEpochsOfOneSender: one member cannot take the room of all others, nor grow our
// memory without end.
func TestEpochsOfOneSender(t *testing.T) {
	for name, limit := range map[string]func(*inbox){
		"of the sender": func(in *inbox) { in.mostOfSender = 20 },
		"of all":        func(in *inbox) { in.most = 20 },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := ends(t)
			limit(&server.in)
			for i := range 20 {
				newEpoch(client)
				if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
					t.Fatalf("epoch %d: %v", i, err)
				}
			}
			same := sealCall(t, client)
			newEpoch(client)
			if err := openCall(server, sealCall(t, client), time.Now()); reasonOf(err) != Limit {
				t.Errorf("one epoch too many: %v", err)
			}
			if err := openCall(server, same, time.Now()); err != nil {
				t.Errorf("a known epoch: %v", err)
			}
			if n := len(server.in.epochs); n != 20 {
				t.Errorf("%d epochs are known", n)
			}
		})
	}
}

// TestJunkEpochs: what is not sealed by a member leaves nothing behind, however much
// there is of it, and cannot make us do public-key operations without end.
func TestJunkEpochs(t *testing.T) {
	client, server := ends(t)
	stranger, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	card, err := client.id.Card() // which anybody on the way can copy
	if err != nil {
		t.Fatal(err)
	}
	const most, more = effort.NameBurst / effort.Junk, 50
	now := time.Now()
	limited := 0
	for i := range most + more {
		e, err := envelope.NewEpoch(&envelope.Params{
			Suite: envelope.AES256GCM, Sender: client.id.ID(), SenderKey: stranger, Scope: scopeCall + "greeter", Created: now, NotAfter: now.Add(time.Hour),
			Credential: card[:len(card)-i%2], Recipients: []envelope.Recipient{{ID: server.id.ID(), Key: server.id.BoxKeys()[0].PublicKey()}},
		}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		data, err := e.Seal(nil, &envelope.Message{Topic: "x", Time: now}, [8]byte{}, true)
		if err != nil {
			t.Fatal(err)
		}
		switch err := openCall(server, data, now); reasonOf(err) {
		case Sender:
		case Limit:
			limited++
		default:
			t.Fatalf("error: %v", err)
		}
	}
	if limited != more {
		t.Errorf("%d of %d were not looked into, want %d", limited, most+more, more)
	}
	if n := len(server.in.epochs) + len(server.in.senders); n != 0 {
		t.Errorf("%d are known", n)
	}
}

// spendAllBut leaves a sender so much of the effort that new epochs may cost, for the next
// hour.
func spendAllBut(server *engine, left int, sender string) {
	server.in.effort.Spend(sender, effort.NameBurst-left, time.Now().Add(time.Hour))
}

// TestMisdirectedCostsNothing: what is for somebody else is refused before any public-key
// operation.
func TestMisdirectedCostsNothing(t *testing.T) {
	client, server := ends(t)
	spendAllBut(server, 0, client.id.ID())
	data := sealCall(t, client)
	if err := openCall(server, data, time.Now()); reasonOf(err) != Limit {
		t.Errorf("for us: %v", err)
	}
	if err := new(openedMessage).open(server, data, scopeCall+"billing", "", time.Now()); reasonOf(err) != Misdirected {
		t.Errorf("for another service: %v", err)
	}
	if err := new(openedMessage).open(server, data, scopeEvent, topicEvent("json"), time.Now()); reasonOf(err) != Misdirected {
		t.Errorf("for events: %v", err)
	}
}

// TestOtherCaller: a member that sees a stream pass, and knows all that is bound, cannot
// speak in it: not in its own name either.
func TestOtherCaller(t *testing.T) {
	authority, client, server := fleet(t)
	mallory, err := authority.Issue("mallory")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mallory.Close() })
	if err := mallory.Directory().AddSealKey(server.id.ID(), server.id.BoxKeys()[0].PublicKey().Bytes(), nil, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	other := newEngine(mallory, nil)
	stream := func(body []byte) *codec.Message {
		m := call(body)
		m.Header["Micro-Stream"] = "1"
		return m
	}
	var asks, serves wire
	asking, serving := client.newCodec(json.NewCodec)(&asks).(*instance), server.newCodec(json.NewCodec)(&serves)
	if err := asking.Write(stream(nil), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := serving.ReadHeader(stream(asks.out.Bytes()), codec.Request); err != nil {
		t.Fatal(err)
	}
	out, err := other.sendCall("greeter")
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topicOf(targetOf(stream(nil)), &later{asking.asked.binding, 1})
	if err != nil {
		t.Fatal(err)
	}
	injected, err := other.seal(nil, out, topic, []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := serving.ReadHeader(stream(injected.data), codec.Request); err == nil {
		t.Error("another member's message was taken for the caller's")
	}
	asks.out.Reset()
	if err := asking.Write(stream(nil), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := serving.ReadHeader(stream(asks.out.Bytes()), codec.Request); err != nil {
		t.Errorf("the caller's own message after it: %v", err)
	}
}

// TestWriteAfterClose: go-micro's server hands the buffer of a closed codec to another
// call, and yet writes the end of a stream.
func TestWriteAfterClose(t *testing.T) {
	client, server := ends(t)
	var w wire
	c := server.newCodec(json.NewCodec)(&w)
	if err := c.ReadHeader(call(sealCall(t, client)), codec.Request); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(&codec.Message{Type: codec.Error, Error: "EOS"}, nil); !errors.Is(err, io.ErrClosedPipe) || w.out.Len() > 0 {
		t.Errorf("%d bytes were written, error: %v", w.out.Len(), err)
	}
}

// TestReplayBudget: a sender that leaves gaps takes its own share only.
func TestReplayBudget(t *testing.T) {
	client, server := ends(t)
	if err := openCall(server, sealCall(t, client), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, r := range server.in.epochs {
		r.replay = envelope.NewReplay(envelope.NewBudget(0, nil))
	}
	if err := openCall(server, sealCall(t, client), time.Now()); reasonOf(err) != Limit {
		t.Errorf("without room: %v", err)
	}
}

// TestHandover: what is not picked up by the handler wrapper does not stay.
func TestHandover(t *testing.T) {
	client, server := ends(t)
	server.wrapped = true
	for i := range 100 {
		var w wire
		c := server.newCodec(json.NewCodec)(&w)
		m := call(sealCall(t, client))
		if err := c.ReadHeader(m, codec.Request); err != nil {
			t.Fatal(err)
		}
		if m.Header[openedHeader] == "" {
			t.Fatal("nothing is handed over")
		}
		if i%2 == 0 {
			if err := c.Write(&codec.Message{Type: codec.Error, Error: "can't find method", Header: m.Header}, nil); err != nil {
				t.Fatal(err)
			}
		} else if server.opened.take(m.Header[openedHeader]) == nil {
			t.Fatal("it is not there")
		}
		if server.opened.take(m.Header[openedHeader]) != nil {
			t.Fatal("it is there twice")
		}
	}
	if n := len(server.opened.slots); n != 1 {
		t.Errorf("%d requests were kept", n)
	}
}

// TestInner: inner codecs that cannot work.
func TestInner(t *testing.T) {
	client, _ := ends(t)
	for name, inner := range map[string]codec.NewCodec{"none": nil, "grpc": grpc.NewCodec} {
		c := client.newCodec(inner)(&wire{})
		if err := c.Write(call(nil), &struct{}{}); !errors.Is(err, ErrInner) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.ReadHeader(call(nil), codec.Request); !errors.Is(err, ErrInner) {
			t.Errorf("%s: %v", name, err)
		}
		if c.String() == "grpc" {
			t.Errorf("%s has go-micro's own protocol", name)
		}
	}
}

// TestContentType: a codec that is registered under a name of go-micro's own seals
// nothing, since go-micro does not use it at both ends.
func TestContentType(t *testing.T) {
	client, server := ends(t)
	for contentType := range clientCodecs() {
		var w wire
		m := call(nil)
		m.Header["Content-Type"] = contentType
		if err := client.newCodec(json.NewCodec)(&w).Write(m, &struct{}{}); !errors.Is(err, ErrContentType) || w.out.Len() > 0 {
			t.Errorf("%s: %d bytes, error: %v", contentType, w.out.Len(), err)
		}
		m.Body = sealCall(t, client)
		if err := server.newCodec(json.NewCodec)(&w).ReadHeader(m, codec.Request); err == nil {
			t.Errorf("%s is served", contentType)
		}
	}
}

func clientCodecs() map[string]codec.NewCodec { return client.DefaultCodecs }

// TestLongNames: names that do not fit are an error, not cut.
func TestLongNames(t *testing.T) {
	client, _ := ends(t)
	m := call(nil)
	m.Endpoint = string(bytes.Repeat([]byte{'x'}, envelope.MaxTopic))
	if err := client.newCodec(json.NewCodec)(&wire{}).Write(m, &struct{}{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error: %v", err)
	}
}

// TestSecretsStayInside: neither errors nor what prints an engine show a key.
func TestSecretsStayInside(t *testing.T) {
	client, server := ends(t)
	data := sealCall(t, client)
	data[len(data)-1] ^= 1
	err := openCall(server, data, time.Now())
	key := server.id.BoxKeys()[0].Bytes()
	for _, said := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%v", server.id)} {
		if bytes.Contains([]byte(said), key) || bytes.Contains([]byte(said), fmt.Appendf(nil, "%x", key)) {
			t.Errorf("%q", said)
		}
	}
}

// TestCallerOfNothing: a context that we have not made names nobody.
func TestCallerOfNothing(t *testing.T) {
	for _, ctx := range []context.Context{nil, t.Context()} {
		if peer, ok := Caller(ctx); ok || peer.ID != "" {
			t.Errorf("%v", peer)
		}
	}
}
