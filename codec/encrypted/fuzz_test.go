package encrypted

import (
	"bytes"
	"io"
	"testing"
	"time"

	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/codec/json"
	"go-micro.dev/v4/logger"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// ends are the codecs of two services that know each other, for tests from inside.
func ends(t testing.TB, opts ...Option) (client, server *engine) {
	t.Helper()
	_, client, server = fleet(t, opts...)
	return client, server
}

func fleet(t testing.TB, opts ...Option) (a *identity.Authority, client, server *engine) {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(service string) *identity.Identity {
		id, err := a.Issue(service)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		return id
	}
	web, greeter := issue("web"), issue("greeter")
	card, err := greeter.Card()
	if err != nil {
		t.Fatal(err)
	}
	if err := web.AddCard(card); err != nil {
		t.Fatal(err)
	}
	opts = append([]Option{Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel), logger.WithOutput(io.Discard)))}, opts...)
	return a, newEngine(web, opts), newEngine(greeter, opts)
}

// wire is what go-micro gives a codec.
type wire struct{ in, out bytes.Buffer }

func (w *wire) Read(p []byte) (int, error)  { return w.in.Read(p) }
func (w *wire) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *wire) Close() error                { return nil }

func call(body []byte) *codec.Message {
	return &codec.Message{
		Type: codec.Request, Target: "greeter", Method: "Greeter.Hello", Endpoint: "Greeter.Hello", Body: body,
		Header: map[string]string{"Content-Type": ContentTypeJSON},
	}
}

func topicOf(t target, l *later) (string, error) { return t.topic(l) }

// epochOf is the epoch that a client seals calls with.
func epochOf(t testing.TB, e *engine) *envelope.Epoch {
	t.Helper()
	o, err := e.sendCall("greeter")
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.current(o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.epoch
}

// leanCall seals a call that goes without its epoch.
func leanCall(t testing.TB, e *engine) []byte {
	t.Helper()
	o, err := e.sendCall("greeter")
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topicOf(targetOf(call(nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.seal(nil, o, topic, []byte(`{"Name":"John"}`), func(*sending) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return s.data
}

// FuzzRequest: whatever comes, nothing panics, and nothing is accepted but what the
// client has sealed, once.
func FuzzRequest(f *testing.F) {
	client, server := ends(f)
	var sent [][]byte
	for range 3 {
		var w wire
		if err := client.newCodec(json.NewCodec)(&w).Write(call(nil), &struct{ Name string }{"John"}); err != nil {
			f.Fatal(err)
		}
		sent = append(sent, bytes.Clone(w.out.Bytes()))
		f.Add(w.out.Bytes())
	}
	epoch := epochOf(f, client)
	lean := leanCall(f, client)
	inline, err := epoch.Inline(lean)
	if err != nil {
		f.Fatal(err)
	}
	sent = append(sent, inline)
	f.Add(inline)
	f.Add(lean)
	f.Add([]byte("SGNE"))
	f.Add([]byte{})
	accepted := make(map[string]bool)
	f.Fuzz(func(t *testing.T, data []byte) {
		var w wire
		c := server.newCodec(json.NewCodec)(&w)
		if err := c.ReadHeader(call(data), codec.Request); err != nil {
			if err.Error() != refusal {
				t.Errorf("the peer is told %q", err)
			}
			return
		}
		// Without its epoch it is the same request.
		if inline, err := epoch.Inline(data); err == nil {
			data = inline
		}
		if accepted[string(data)] {
			t.Error("a request was accepted twice")
		}
		accepted[string(data)] = true
		for _, known := range sent {
			if bytes.Equal(known, data) {
				return
			}
		}
		t.Errorf("%x was accepted", data)
	})
}

// FuzzAnswer: whatever comes, nothing panics, and nothing is accepted but the answer.
func FuzzAnswer(f *testing.F) {
	client, server := ends(f)
	var a, b wire
	asking := client.newCodec(json.NewCodec)(&a).(*instance)
	if err := asking.Write(call(nil), &struct{ Name string }{"John"}); err != nil {
		f.Fatal(err)
	}
	serving := server.newCodec(json.NewCodec)(&b)
	if err := serving.ReadHeader(call(a.out.Bytes()), codec.Request); err != nil {
		f.Fatal(err)
	}
	if err := serving.Write(&codec.Message{Type: codec.Response}, &struct{ Greeting string }{"Hello John"}); err != nil {
		f.Fatal(err)
	}
	answer := bytes.Clone(b.out.Bytes())
	f.Add(answer)
	f.Add(answer[:answerHeader])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		again := &instance{e: client, inner: json.NewCodec, rw: &a, asked: &asked{with: asking.asked.with, binding: asking.asked.binding}}
		a.in.Reset()
		a.in.Write(data)
		m := &codec.Message{Header: map[string]string{"Micro-Error": "EOS"}}
		err := again.ReadHeader(m, codec.Response)
		if a.in.Len() > 0 {
			t.Errorf("%d bytes are left for a bytes.Frame", a.in.Len())
		}
		if err == nil != bytes.Equal(data, answer) {
			t.Errorf("%x: error: %v", data, err)
		}
		if m.Error != "" || len(m.Header) > 0 {
			t.Errorf("what came in clear is left: %q, %v", m.Error, m.Header)
		}
	})
}
