package encrypted_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"go-micro.dev/v4/client"

	"github.com/go-signet/signet/codec/encrypted"
)

// change makes a hook that changes each message.
func change(f func(*message)) func(*message) []*message {
	return func(m *message) []*message {
		f(m)
		return []*message{m}
	}
}

func flip(b []byte, at int) { b[at%len(b)] ^= 1 }

// TestHostileRequests: an intermediary that changes a request gets it refused: no
// handler runs, the caller is told, and the next call works.
func TestHostileRequests(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	c.works(t, p.address)
	good := p.last()
	header := func(name, value string) func(*message) {
		return func(m *message) { m.header.Set(name, value) }
	}
	type attack struct {
		change func(*message)
		want   encrypted.Reason // what the service's hook is told
	}
	attacks := map[string]attack{
		"no body":              {func(m *message) { m.body = nil }, encrypted.Empty},
		"no body, and the end": {func(m *message) { m.body = nil; m.header.Set("Micro-Error", "EOS") }, encrypted.Empty},
		"clear body":           {func(m *message) { m.body = []byte(`{"Name":"Mallory"}`) }, encrypted.Clear},
		"truncated":            {func(m *message) { m.body = m.body[:len(m.body)-1] }, encrypted.Malformed},
		"extended":             {func(m *message) { m.body = append(m.body, 0) }, encrypted.Malformed},
		"another endpoint":     {header("Micro-Endpoint", "Greeter.Fail"), encrypted.Tampered},
		"another method":       {header("Micro-Method", "Greeter.Fail"), encrypted.Tampered},
		"another endpoint, twice": {func(m *message) {
			header("Micro-Endpoint", "Greeter.Fail")(m)
			header("Micro-Method", "Greeter.Fail")(m)
		}, encrypted.Tampered},
		"another service":        {header("Micro-Service", "billing"), encrypted.Misdirected},
		"no service":             {func(m *message) { m.header.Del("Micro-Service") }, encrypted.Misdirected},
		"made a stream":          {header("Micro-Stream", "7"), encrypted.Tampered},
		"made a stream, X-":      {header("X-Micro-Stream", "7"), encrypted.Tampered},
		"another content type":   {header("Content-Type", encrypted.ContentTypeProto), encrypted.Tampered},
		"an error in its header": {header("Micro-Error", "EOS"), encrypted.Tampered},
		"the answer to it":       {func(m *message) { m.body = append([]byte("SGNA\x01"), m.body[5:]...) }, encrypted.Clear},
	}
	for _, contentType := range []string{"application/json", "application/protobuf", "application/json-rpc", "application/octet-stream", "application/grpc", "application/proto-rpc", "application/grpc+json"} {
		// The codec in clear is not there: the hook is not told, the caller is.
		attacks["as "+contentType] = attack{header("Content-Type", contentType), ""}
		attacks["clear, as "+contentType] = attack{func(m *message) {
			m.header.Set("Content-Type", contentType)
			m.body = []byte(`{"Name":"Mallory"}`)
		}, ""}
	}
	// go-micro's legacy codecs come before those of the options, if the request says no
	// more than this: only the handler wrapper is left to refuse what they have read.
	jsonRPC := []byte(`{"method":"Greeter.Hello","params":[{"Name":"Mallory"}],"id":"1"}`)
	protoRPC := []byte("\x00\x00\x00\x0f\x0a\x0dGreeter.Proto\x00\x00\x00\x00")
	for contentType, body := range map[string][]byte{
		"application/json": jsonRPC, "application/json-rpc": jsonRPC,
		"application/protobuf": protoRPC, "application/proto-rpc": protoRPC, "application/octet-stream": protoRPC,
	} {
		attacks["legacy, as "+contentType] = attack{func(m *message) {
			m.header.Set("Content-Type", contentType)
			m.header.Set("Micro-Target", "greeter")
			if m.body = body; bytes.Equal(body, protoRPC) {
				m.header.Set("Micro-Endpoint", "Greeter.Proto")
				m.header.Set("Micro-Method", "Greeter.Proto")
			}
		}, encrypted.Clear}
	}
	for at := range 60 {
		at := at*len(good.body)/60 + at%3
		attacks[fmt.Sprintf("byte %d", at)] = attack{func(m *message) { flip(m.body, at) }, "?"}
	}
	both := make(map[string]attack)
	for name, a := range attacks {
		both[name], both[name+", without its epoch"] = a, a
	}
	for name, a := range both {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, c.id)
			if strings.HasSuffix(name, ", without its epoch") {
				c.works(t, p.address)
				c.sends(t, p, "before it", true)
			}
			before := s.handler.calls.Load()
			s.rejected.take()
			p.does(change(a.change), nil)
			got, err := c.hello(t.Context(), p.address, "John")
			p.does(nil, nil)
			if !errors.Is(err, encrypted.ErrUnauthenticated) {
				t.Errorf("answered with %q, error: %v", got, err)
			}
			if n := s.handler.calls.Load() - before; n > 0 {
				t.Errorf("the handler ran %d times", n)
			}
			reasons := slices.Compact(s.rejected.take()) // a lean one is sent once more
			if want := a.want; want == "?" {
				// one of several
			} else if want != "" && !slices.Equal(reasons, []encrypted.Reason{want}) || want == "" && len(reasons) > 0 {
				t.Errorf("the service was told %v, want %q", reasons, want)
			}
			c.works(t, p.address)
		})
	}
}

// TestEpochTakenOut: a request whose epoch somebody takes out is refused where that is
// not known, and is the same request, once, where it is.
func TestEpochTakenOut(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	take := change(func(m *message) { m.body = withoutEpoch(m.body) })
	p.does(take, nil)
	if _, err := c.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.UnknownEpoch}) || s.handler.calls.Load() != 0 {
		t.Errorf("the service was told %v; the handler ran %d times", got, s.handler.calls.Load())
	}
	c.works(t, s.address)
	p.does(func(m *message) []*message {
		send(t, s.address, &message{m.header, withoutEpoch(m.body)})
		return []*message{m}
	}, nil)
	before := s.handler.calls.Load()
	if _, err := c.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Replay}) || s.handler.calls.Load() != before+1 {
		t.Errorf("the service was told %v; the handler ran %d times", got, s.handler.calls.Load()-before)
	}
	p.does(nil, nil)
	c.works(t, p.address)
}

// withoutEpoch takes the epoch out of an envelope: what comes inline, and the flag.
func withoutEpoch(b []byte) []byte {
	const prefix = 4 + 3 + 32 + 12 + 1
	out := bytes.Clone(b[:prefix])
	out[6] = 0
	rest := b[prefix:]
	for range 2 {
		n, size := 0, 0
		for shift := 0; ; shift += 7 {
			n |= int(rest[size]&0x7f) << shift
			size++
			if rest[size-1] < 0x80 {
				break
			}
		}
		rest = rest[size+n:]
	}
	return append(out, rest...)
}

// TestHostileAnswers: an intermediary that changes an answer, or makes one up, is
// noticed by the caller, and the next call works.
func TestHostileAnswers(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	var recorded *message
	p.does(nil, change(func(m *message) { recorded = m.clone() }))
	c.works(t, p.address)
	p.does(nil, nil)
	attacks := map[string]func(*message){
		"of another call":   func(m *message) { m.body = recorded.body },
		"no body":           func(m *message) { m.body = nil },
		"an error in clear": func(m *message) { m.body = nil; m.header.Set("Micro-Error", "you are broke") },
		"the end, in clear": func(m *message) { m.body = nil; m.header.Set("Micro-Error", "EOS") },
		"clear":             func(m *message) { m.body = []byte(`{"Greeting":"Hello Mallory"}`) },
		"clear, so called": func(m *message) {
			m.body = []byte(`{"Greeting":"x"}`)
			m.header.Set("Content-Type", "application/json")
		},
		"truncated":             func(m *message) { m.body = m.body[:len(m.body)-1] },
		"extended":              func(m *message) { m.body = append(m.body, 0) },
		"of an unknown version": func(m *message) { m.body[4] = 9 },
		"of an unknown salt":    func(m *message) { m.body[5] ^= 1 },
		"of another counter":    func(m *message) { m.body[24] ^= 1 },
		"the request itself":    func(m *message) { m.body = p.last().body },
		"short":                 func(m *message) { m.body = m.body[:20] },
	}
	for at := range 20 {
		attacks[fmt.Sprintf("byte %d", at*3)] = func(m *message) { flip(m.body, at*3) }
	}
	for name, f := range attacks {
		t.Run(name, func(t *testing.T) {
			p.does(nil, change(f))
			got, err := c.hello(t.Context(), p.address, "John")
			p.does(nil, nil)
			if !errors.Is(err, encrypted.ErrUnauthenticated) || got != "" {
				t.Errorf("answered with %q, error: %v", got, err)
			}
			if got := c.rejected.take(); len(got) != 1 {
				t.Errorf("the client was told %v", got)
			}
			c.works(t, p.address)
		})
	}
	t.Run("an error in clear, beside the answer", func(t *testing.T) {
		p.does(nil, change(func(m *message) { m.header.Set("Micro-Error", "you are broke") }))
		defer p.does(nil, nil)
		c.works(t, p.address)
	})
}

// TestSwappedAnswers: two calls at once, and each gets the answer of the other.
func TestSwappedAnswers(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	var mu sync.Mutex
	var held *message
	both := make(chan struct{})
	p.does(nil, func(m *message) []*message {
		mu.Lock()
		if held == nil {
			held = m.clone()
			mu.Unlock()
			<-both
			return []*message{m}
		}
		m.body, held.body = held.body, m.body
		swapped := held
		mu.Unlock()
		_ = swapped
		close(both)
		return []*message{m}
	})
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := c.hello(t.Context(), p.address, "John")
			errs <- err
		}()
	}
	failed := 0
	for range 2 {
		if errors.Is(<-errs, encrypted.ErrUnauthenticated) {
			failed++
		}
	}
	if failed == 0 {
		t.Error("an answer to another call was accepted")
	}
	p.does(nil, nil)
	c.works(t, p.address)
}

// send puts a recorded request on a connection of its own and returns the answer.
func send(t *testing.T, address string, m *message) *message {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, writeMessage(conn, m, true))
	answer, err := readMessage(newReader(conn), false)
	must(t, err)
	return answer
}

// TestReplay: a request that was recorded is not accepted again, wherever it is sent.
func TestReplay(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	c.works(t, p.address)
	recorded := p.last()
	for range 3 {
		answer := send(t, s.address, recorded)
		if len(answer.body) > 0 || !strings.Contains(answer.header.Get("Micro-Error"), "encrypted: refused") {
			t.Errorf("answered with %v, %q", answer.header, answer.body)
		}
		if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Replay}) {
			t.Errorf("the service was told %v", got)
		}
	}
	if n := s.handler.calls.Load(); n != 1 {
		t.Errorf("the handler ran %d times", n)
	}
	t.Run("twice at once", func(t *testing.T) {
		before := s.handler.calls.Load()
		var wg sync.WaitGroup
		p.does(func(m *message) []*message {
			for range 8 {
				copied := m.clone()
				wg.Go(func() { send(t, s.address, copied) })
			}
			wg.Wait()
			return []*message{m}
		}, nil)
		_, err := c.hello(t.Context(), p.address, "John")
		p.does(nil, nil)
		if !errors.Is(err, encrypted.ErrUnauthenticated) {
			t.Errorf("error: %v", err)
		}
		if n := s.handler.calls.Load() - before; n != 1 {
			t.Errorf("the handler ran %d times", n)
		}
	})
	t.Run("as another content type", func(t *testing.T) {
		// The replay window is one for all codecs of a server.
		recorded.header.Set("Content-Type", encrypted.ContentTypeProto)
		before := s.handler.calls.Load()
		send(t, s.address, recorded)
		if n := s.handler.calls.Load() - before; n != 0 {
			t.Errorf("the handler ran %d times", n)
		}
	})
	c.works(t, p.address)
}

// TestRestart: a process that starts anew accepts nothing that was sealed before, since
// it has forgotten what was accepted.
func TestRestart(t *testing.T) {
	a := authority(t)
	id := issue(t, a, "greeter")
	s, c := serve(t, id), newCaller(t, issue(t, a, "web"))
	meet(t, c.id, id)
	p := newProxy(t, s.address)
	c.works(t, p.address)
	recorded := p.last()
	must(t, s.server.Stop())
	again := serve(t, id)
	answer := send(t, again.address, recorded)
	if n := again.handler.calls.Load(); n != 0 || len(answer.body) > 0 {
		t.Errorf("the handler ran %d times, and answered %q", n, answer.body)
	}
	if got := again.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Stale}) {
		t.Errorf("the service was told %v", got)
	}
	p.target.Store(&again.address)
	c.works(t, again.address)
}

// TestHostileStreams: what is done to one message of a stream is noticed at that
// message, at whichever end it comes to.
func TestHostileStreams(t *testing.T) {
	s, c := pair(t)
	type hook func(n int, m *message, before []*message) []*message
	drop := func(int, *message, []*message) []*message { return nil }
	for name, a := range map[string]struct{ forth, back hook }{
		"request dropped":   {forth: drop},
		"request twice":     {forth: func(_ int, m *message, _ []*message) []*message { return []*message{m, m.clone()} }},
		"request of before": {forth: func(n int, m *message, before []*message) []*message { m.body = before[n-1].body; return []*message{m} }},
		"request changed":   {forth: func(_ int, m *message, _ []*message) []*message { flip(m.body, len(m.body)-1); return []*message{m} }},
		"request emptied":   {forth: func(_ int, m *message, _ []*message) []*message { m.body = nil; return []*message{m} }},
		"request in clear": {forth: func(_ int, m *message, _ []*message) []*message {
			m.body = []byte(`{"Name":"x"}`)
			return []*message{m}
		}},
		"answer dropped":   {back: drop},
		"answer twice":     {back: func(_ int, m *message, _ []*message) []*message { return []*message{m, m.clone()} }},
		"answer of before": {back: func(n int, m *message, before []*message) []*message { m.body = before[n-1].body; return []*message{m} }},
		"answer changed":   {back: func(_ int, m *message, _ []*message) []*message { flip(m.body, 60); return []*message{m} }},
		"answer in clear": {back: func(_ int, m *message, _ []*message) []*message {
			m.body = []byte(`{"Greeting":"x"}`)
			return []*message{m}
		}},
		"answer made the end": {back: func(_ int, m *message, _ []*message) []*message {
			m.body = nil
			m.header.Set("Micro-Error", "EOS")
			return []*message{m}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, s.address)
			const victim = 3
			at := func(h hook) func(*message) []*message {
				if h == nil {
					return nil
				}
				var seen []*message
				return func(m *message) []*message {
					n := len(seen)
					seen = append(seen, m.clone())
					if n == victim {
						return h(n, m, seen)
					}
					return []*message{m}
				}
			}
			p.does(at(a.forth), at(a.back))
			stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", nil), client.WithAddress(p.address))
			must(t, err)
			defer stream.Close()
			// All are sent at once, so that one that is dropped blocks nobody.
			const messages = 6
			for i := range messages {
				must(t, stream.Send(&Request{fmt.Sprint(i)}))
			}
			for i := range messages {
				var rsp Response
				err := stream.Recv(&rsp)
				if errors.Is(err, io.EOF) {
					t.Fatalf("after %d messages the stream seems to be at its end", i)
				}
				if err != nil {
					if i > victim+1 {
						t.Errorf("noticed at message %d only", i)
					}
					t.Log(err)
					return
				}
				if want := fmt.Sprint("Hello ", i); rsp.Greeting != want {
					t.Fatalf("message %d is %q", i, rsp.Greeting)
				}
			}
			t.Error("nobody noticed")
		})
	}
	c.works(t, s.address)
}
