package encrypted_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go-micro.dev/v4/client"
	raw "go-micro.dev/v4/codec/bytes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-signet/signet/codec/encrypted"
)

// TestCall: a call works, the handler knows who called, and nothing of either body can
// be read on the way.
func TestCall(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	for i := range 3 {
		name := fmt.Sprintf("Rumpelstiltskin-%d", i)
		got, err := c.hello(t.Context(), p.address, name)
		if err != nil || got != "Hello "+name {
			t.Fatalf("answered with %q, error: %v", got, err)
		}
	}
	if got := *s.handler.caller.Load(); got != c.id.ID() {
		t.Errorf("the handler saw %s, want %s", got, c.id.ID())
	}
	wire := p.wire()
	for _, secret := range []string{"Rumpelstiltskin", "Hello ", "Greeting", `"Name"`} {
		if bytes.Contains(wire, []byte(secret)) {
			t.Errorf("%q is on the wire", secret)
		}
	}
	if !bytes.Contains(wire, []byte("Greeter.Hello")) {
		t.Error("the recording is not of these calls")
	}
}

// TestErrors: what a handler says comes back as it is, sealed.
func TestErrors(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Fail", &Request{"Rumpelstiltskin"}), new(Response), client.WithAddress(p.address))
	if err == nil || err.Error() != "no such name: Rumpelstiltskin" {
		t.Errorf("error: %v", err)
	}
	c.works(t, p.address)
	err = c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Nothing", &Request{}), new(Response), client.WithAddress(p.address))
	if err == nil || !strings.Contains(err.Error(), "can't find method") {
		t.Errorf("a method that is not there: %v", err)
	}
	err = c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Unencodable", &Request{}), new(Response), client.WithAddress(p.address))
	if err == nil || !strings.Contains(err.Error(), "cannot be encoded") || strings.Contains(err.Error(), "func") {
		t.Errorf("an answer that cannot be encoded: %v", err)
	}
	if got := s.rejected.take(); len(got) != 1 || got[0] != encrypted.Encoding {
		t.Errorf("the service was told %v", got)
	}
	for _, secret := range []string{"Rumpelstiltskin", "no such name", "can't find", "func()"} {
		if bytes.Contains(p.wire(), []byte(secret)) {
			t.Errorf("%q is on the wire", secret)
		}
	}
	c.works(t, p.address)
}

// TestBodies: frames, bytes, and no body at all.
func TestBodies(t *testing.T) {
	s, c := pair(t)
	for _, n := range []int{0, 1, 100_000, 4 << 20} {
		in, out := &encrypted.Frame{Data: bytes.Repeat([]byte{'x'}, n)}, new(encrypted.Frame)
		err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Bytes", in), out, client.WithAddress(s.address))
		if err != nil || string(out.Data) != "got "+string(in.Data) {
			t.Errorf("a frame of %d bytes came back with %d, error: %v", n, len(out.Data), err)
		}
	}
	in, out := []byte("bytes"), []byte(nil)
	req := c.NewRequest("greeter", "Greeter.Slice", &in, client.WithContentType(encrypted.ContentTypeBytes))
	if err := c.Call(t.Context(), req, &out, client.WithAddress(s.address)); err != nil || string(out) != "got bytes" {
		t.Errorf("bytes came back as %q, error: %v", out, err)
	}
	pb := new(wrapperspb.StringValue)
	req = c.NewRequest("greeter", "Greeter.Proto", wrapperspb.String("John"), client.WithContentType(encrypted.ContentTypeProto))
	if err := c.Call(t.Context(), req, pb, client.WithAddress(s.address)); err != nil || pb.Value != "Hello John" {
		t.Errorf("a protocol buffer came back as %q, error: %v", pb.Value, err)
	}
	var rsp Response
	if err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Hello", nil), &rsp, client.WithAddress(s.address)); err != nil || rsp.Greeting != "Hello " {
		t.Errorf("no body was answered with %q, error: %v", rsp.Greeting, err)
	}
}

// TestFrameRefused: what go-micro would send past the codec is not sent.
func TestFrameRefused(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	secret := &raw.Frame{Data: []byte("Rumpelstiltskin")}
	at := client.WithAddress(p.address)
	if err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Hello", secret), new(Response), at); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("a call: %v", err)
	}
	if err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Hello", &Request{}), new(raw.Frame), at); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("an answer: %v", err)
	}
	if _, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", secret), at); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("a stream: %v", err)
	}
	if err := c.Publish(t.Context(), c.NewMessage("greeter", secret)); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("an event: %v", err)
	}
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", nil), at)
	must(t, err)
	if err := stream.Send(secret); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("a message of a stream: %v", err)
	}
	if err := stream.Recv(new(raw.Frame)); !errors.Is(err, encrypted.ErrClear) {
		t.Errorf("an answer of a stream: %v", err)
	}
	must(t, stream.Close())
	for _, contentType := range []string{"application/json", "application/protobuf", "application/octet-stream", "application/grpc"} {
		if _, err := c.hello(t.Context(), p.address, "Rumpelstiltskin", client.WithContentType(contentType)); !errors.Is(err, encrypted.ErrClear) {
			t.Errorf("%s: %v", contentType, err)
		}
	}
	if bytes.Contains(p.wire(), secret.Data) {
		t.Error("it is on the wire")
	}
	c.works(t, p.address)
}

// TestNoKeys: without a key of the service nothing is sent, and the error says what to
// do.
func TestNoKeys(t *testing.T) {
	a := authority(t)
	s, c := serve(t, issue(t, a, "greeter")), newCaller(t, issue(t, a, "web"))
	p := newProxy(t, s.address)
	_, err := c.hello(t.Context(), p.address, "John")
	if !errors.Is(err, encrypted.ErrNoKeys) || !strings.Contains(err.Error(), "Identity.AddCard") {
		t.Errorf("error: %v", err)
	}
	if wire := p.wire(); len(wire) > 0 {
		t.Errorf("%d bytes were sent", len(wire))
	}
	meet(t, c.id, s.id)
	c.works(t, p.address)
}

// TestNoIdentity: nothing works without one, or with one that has ended.
func TestNoIdentity(t *testing.T) {
	s, c := pair(t)
	if _, err := newCaller(t, nil).hello(t.Context(), s.address, "John"); !errors.Is(err, encrypted.ErrNoIdentity) {
		t.Errorf("none: %v", err)
	}
	nobody := serve(t, nil)
	if _, err := c.hello(t.Context(), nobody.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("a service without one: %v", err)
	}
	if n := nobody.handler.calls.Load(); n != 0 {
		t.Errorf("its handler ran %d times", n)
	}
	c.works(t, s.address)
	must(t, c.id.Close())
	if _, err := c.hello(t.Context(), s.address, "John"); !errors.Is(err, encrypted.ErrNoIdentity) {
		t.Errorf("closed: %v", err)
	}
}

// TestStream: both directions, until the client ends it.
func TestStream(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	for _, opener := range []any{nil, &Request{"opener"}} {
		stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", opener), client.WithAddress(p.address))
		must(t, err)
		for i := range 20 {
			name := fmt.Sprintf("Rumpelstiltskin-%d", i)
			must(t, stream.Send(&Request{name}))
			var rsp Response
			if err := stream.Recv(&rsp); err != nil || rsp.Greeting != "Hello "+name {
				t.Fatalf("message %d was answered with %q, error: %v", i, rsp.Greeting, err)
			}
		}
		must(t, stream.Close())
	}
	if bytes.Contains(p.wire(), []byte("Rumpelstiltskin")) {
		t.Error("it can be read on the wire")
	}
	if got := *s.handler.caller.Load(); got != c.id.ID() {
		t.Errorf("the handler saw %s", got)
	}
}

// TestServerStreams: many streams at once, of messages that queue up, arrive whole.
// With a codec of go-micro's they do not.
func TestServerStreams(t *testing.T) {
	s, c := pair(t)
	const messages = 200
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Count", nil), client.WithAddress(s.address))
			if err != nil {
				t.Error(err)
				return
			}
			defer stream.Close()
			if err := stream.Send(&Request{fmt.Sprint(messages)}); err != nil {
				t.Error(err)
				return
			}
			for i := range messages {
				var rsp Response
				if err := stream.Recv(&rsp); err != nil || rsp.Greeting != fmt.Sprintf("message %d %0*d", i, i%37, 0) {
					t.Errorf("message %d is %q, error: %v", i, rsp.Greeting, err)
					return
				}
			}
			if err := stream.Recv(new(Response)); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	wg.Wait()
	if got := *s.handler.caller.Load(); got != c.id.ID() {
		t.Errorf("the context of the stream names %s", got)
	}
}

// TestFrameHandlers: handlers that use go-micro's Frame are not called, or fail, and
// nothing of theirs goes out.
func TestFrameHandlers(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	for _, method := range []string{"RawAnswer", "RawRequest"} {
		err := c.Call(t.Context(), c.NewRequest("greeter", "Greeter."+method, &Request{"John"}), new(Response), client.WithAddress(p.address))
		if err == nil || !strings.Contains(err.Error(), "encrypted.Frame") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if n := s.handler.calls.Load(); n != 0 {
		t.Errorf("a handler ran %d times", n)
	}
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.RawStream", nil), client.WithAddress(p.address))
	must(t, err)
	if err := stream.Recv(new(Response)); err == nil || !strings.Contains(err.Error(), "as it should be") {
		t.Errorf("a stream: %v", err)
	}
	must(t, stream.Close())
	if bytes.Contains(p.wire(), []byte("Rumpel")) {
		t.Error("it is on the wire")
	}
	c.works(t, p.address)
}

// TestConcurrent: many calls at once.
func TestConcurrent(t *testing.T) {
	s, c := pair(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("%d-%d", i, j)
				if got, err := c.hello(t.Context(), s.address, name); err != nil || got != "Hello "+name {
					t.Errorf("answered with %q, error: %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := s.handler.calls.Load(); got != 320 {
		t.Errorf("the handler ran %d times", got)
	}
}
