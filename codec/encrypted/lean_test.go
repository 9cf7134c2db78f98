package encrypted_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec/json"
	"go-micro.dev/v4/server"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

const refusal = "encrypted: refused: the service's log says why"

// refuse is an answer that anybody can make.
func refuse(m *message) {
	m.body = nil
	m.header.Set("Micro-Error", refusal)
}

// isLean reports whether a request has come without its epoch.
func isLean(t testing.TB, m *message) bool {
	t.Helper()
	e, err := envelope.Parse(m.body)
	must(t, err)
	return e.Header == nil
}

// passed returns the requests that have passed since it was asked last.
func (p *proxy) passed() []*message {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.requests
	p.requests = nil
	return all
}

// sends makes a call that must succeed with one request, and looks at that.
func (c *caller) sends(t testing.TB, p *proxy, what string, lean bool) *message {
	t.Helper()
	p.passed()
	c.works(t, p.address)
	all := p.passed()
	if len(all) != 1 {
		t.Fatalf("%s: %d requests", what, len(all))
	}
	if isLean(t, all[0]) != lean {
		t.Errorf("%s: without its epoch: %v, want %v", what, !lean, lean)
	}
	return all[0]
}

// TestLean: once a node has answered, requests go there without their epoch, which makes
// them no larger than the page of the format promises.
func TestLean(t *testing.T) {
	for name, opts := range map[string][]encrypted.Option{
		"with a card": nil, "OmitCard": {encrypted.OmitCard()}, "PostQuantum": {encrypted.PostQuantum()},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := pair(t, opts...)
			meet(t, s.id, c.id)
			p, q := newProxy(t, s.address), newProxy(t, s.address)
			c.sends(t, p, "the first", false)
			for range 3 {
				m := c.sends(t, p, "a later one", true)
				if over := len(m.body) - len(`{"Name":"John"}`); over > 100 {
					t.Errorf("it is %d bytes larger than in clear", over)
				}
			}
			c.sends(t, q, "the first to another node", false)
			c.sends(t, q, "the second to that", true)
			// A replica with a key of its own, and one that is gone.
			other := issueKnown(t, s.of, c.id, "greeter")
			c.sends(t, p, "the first for another replica, too", false)
			m := c.sends(t, p, "the second for two", true)
			if over := len(m.body) - len(`{"Name":"John"}`); over > 100+2*16 {
				t.Errorf("for two keys it is %d bytes larger than in clear", over)
			}
			c.id.Directory().RemoveKey(other.ID(), other.BoxKeys()[0].PublicKey().Bytes())
			c.sends(t, p, "the first without it", false)
			c.sends(t, p, "the second without it", true)
			if got := append(s.rejected.take(), c.rejected.take()...); len(got) > 0 {
				t.Errorf("refused: %v", got)
			}
		})
	}
}

// TestNotLean: what is not a call through our CallWrapper brings its epoch, and so does a
// large request.
func TestNotLean(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	c.works(t, p.address)
	p.passed()
	stream, err := c.Stream(t.Context(), c.NewRequest("greeter", "Greeter.Chat", nil), client.WithAddress(p.address))
	must(t, err)
	must(t, stream.Send(&Request{"John"}))
	must(t, stream.Recv(new(Response)))
	must(t, stream.Close())
	if isLean(t, p.passed()[0]) {
		t.Error("a stream was opened without its epoch")
	}
	p = newProxy(t, s.address) // the end of the stream may still pass the other
	c.works(t, p.address)
	c.sends(t, p, "a small request", true)
	large := &encrypted.Frame{Data: make([]byte, 64<<10+1)}
	must(t, c.Call(t.Context(), c.NewRequest("greeter", "Greeter.Bytes", large), new(encrypted.Frame), client.WithAddress(p.address)))
	if isLean(t, p.passed()[0]) {
		t.Error("a large request went without its epoch")
	}
	bare := &caller{Client: newClient(t, client.Codec(encrypted.ContentTypeJSON, encrypted.NewCodec(c.id, json.NewCodec)), client.ContentType(encrypted.ContentTypeJSON))}
	for range 3 {
		bare.sends(t, p, "a codec by itself", false)
	}
	// An answer that does not verify says nothing of who answers.
	fresh := newCaller(t, c.id)
	p.does(nil, change(func(m *message) { flip(m.body, 60) }))
	if _, err := fresh.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
		t.Errorf("error: %v", err)
	}
	p.does(nil, nil)
	fresh.sends(t, p, "after an answer that was changed", false)
}

// once calls on a connection of its own.
func (c *caller) once(ctx context.Context, address string) error {
	var rsp Response
	err := c.Call(ctx, c.NewRequest("greeter", "Greeter.Hello", &Request{"John"}), &rsp, client.WithAddress(address), func(o *client.CallOptions) { o.ConnClose = true })
	if err == nil && rsp.Greeting != "Hello John" {
		err = fmt.Errorf("answered with %q", rsp.Greeting)
	}
	return err
}

// TestRestartedService: a service that was started anew at its address does not know the
// epoch, and gets it within the call, which is carried out once.
func TestRestartedService(t *testing.T) {
	for name, opts := range map[string][]encrypted.Option{
		"with a card": nil, "OmitCard": {encrypted.OmitCard()}, "PostQuantum": {encrypted.PostQuantum()},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := pair(t, opts...)
			meet(t, s.id, c.id)
			for range 3 {
				must(t, c.once(t.Context(), s.address))
			}
			must(t, s.server.Stop())
			again := &service{id: s.id, handler: new(Greeter), rejected: new(rejections)}
			again.start(t, append(encrypted.ServerOptions(s.id, append(opts, encrypted.OnReject(again.rejected.add), encrypted.Logger(quiet()))...), server.Address(s.address))...)
			must(t, c.once(t.Context(), again.address))
			if n := again.handler.calls.Load(); again.address != s.address || n != 1 {
				t.Errorf("at %s, the handler ran %d times", again.address, n)
			}
			must(t, c.once(t.Context(), again.address))
			if got := again.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.UnknownEpoch}) {
				t.Errorf("the service was told %v", got)
			}
			if got := c.rejected.take(); len(got) > 0 {
				t.Errorf("the client was told %v", got)
			}
		})
	}
}

// replicasAt starts services with one box key, behind one address that takes them in turn.
func replicasAt(t *testing.T, n int) (all []*service, p *proxy, c *caller) {
	t.Helper()
	a := authority(t)
	id := issue(t, a, "greeter")
	dir := filepath.Join(t.TempDir(), "identity")
	must(t, id.Save(dir))
	for range n {
		replica, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)))
		must(t, err)
		t.Cleanup(func() { _ = replica.Close() })
		all = append(all, serve(t, replica))
	}
	c = newCaller(t, issue(t, a, "web"))
	meet(t, c.id, id)
	p = newProxy(t, all[0].address)
	var turn atomic.Int64
	next := func() string { return all[int(turn.Add(1))%n].address }
	p.next.Store(&next)
	return all, p, c
}

// TestBalanced: behind one address are several processes. Every call succeeds, is carried
// out once, and soon none brings its epoch.
func TestBalanced(t *testing.T) {
	all, p, c := replicasAt(t, 3)
	const calls = 60
	for range calls {
		must(t, c.once(t.Context(), p.address))
	}
	var ran int64
	for _, s := range all {
		n := s.handler.calls.Load()
		if ran += n; n == 0 {
			t.Error("a replica got no call")
		}
	}
	if ran != calls {
		t.Errorf("%d calls were carried out %d times", calls, ran)
	}
	requests := p.passed()
	for _, m := range requests[len(requests)-calls/2:] {
		if !isLean(t, m) {
			t.Error("a late request has brought its epoch")
		}
	}
	if got := c.rejected.take(); len(got) > 0 {
		t.Errorf("the client was told %v", got)
	}
}

// TestBalancedAtOnce: so do calls that are on their way together.
func TestBalancedAtOnce(t *testing.T) {
	all, p, c := replicasAt(t, 2)
	const callers, calls = 8, 25
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if err := c.once(t.Context(), p.address); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if ran := all[0].handler.calls.Load() + all[1].handler.calls.Load(); ran != callers*calls {
		t.Errorf("%d calls were carried out %d times", callers*calls, ran)
	}
	must(t, c.once(t.Context(), p.address))
	if m := p.last(); !isLean(t, m) {
		t.Error("in the end requests bring their epoch")
	}
}

// TestForgedRefusal: the service has carried a call out, and somebody in between says that
// it was refused. What the client sends once more is the same message, which the service
// refuses.
func TestForgedRefusal(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	c.works(t, p.address)
	for _, forged := range []int{1, 2} {
		c.sends(t, p, "before it", true)
		before := s.handler.calls.Load()
		left := forged
		p.does(nil, change(func(m *message) {
			if left--; left >= 0 {
				refuse(m)
			}
		}))
		if _, err := c.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
			t.Errorf("error: %v", err)
		}
		p.does(nil, nil)
		if n := s.handler.calls.Load() - before; n != 1 {
			t.Errorf("the handler ran %d times", n)
		}
		if got := s.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Replay}) {
			t.Errorf("the service was told %v", got)
		}
		if got := c.rejected.take(); !slices.Equal(got, []encrypted.Reason{encrypted.Clear, encrypted.Clear}) {
			t.Errorf("the client was told %v", got)
		}
		all := p.passed()
		if len(all) != 2 || !isLean(t, all[0]) || isLean(t, all[1]) || !bytes.Equal(withoutEpoch(all[1].body), all[0].body) {
			t.Errorf("%d requests, which differ in more than the epoch", len(all))
		}
		// The node gets the epoch again.
		for c.works(t, p.address); !isLean(t, p.last()); c.works(t, p.address) {
		}
	}
}

// TestChangedAnswer: what is no refusal is no reason to send a request again, which another
// process might carry out. The next one brings its epoch, since a gateway may have put
// its own words in the place of a refusal.
func TestChangedAnswer(t *testing.T) {
	s, c := pair(t)
	for name, f := range map[string]func(*message){
		"changed":                 func(m *message) { flip(m.body, 60) },
		"emptied":                 func(m *message) { m.body = nil },
		"another error":           func(m *message) { m.body = nil; m.header.Set("Micro-Error", "bad gateway") },
		"a refusal beside a body": func(m *message) { b := m.body; refuse(m); m.body = b[:9] },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, s.address)
			c.works(t, p.address)
			c.sends(t, p, "before it", true)
			p.does(nil, change(f))
			before := s.handler.calls.Load()
			if _, err := c.hello(t.Context(), p.address, "John"); !errors.Is(err, encrypted.ErrUnauthenticated) {
				t.Errorf("error: %v", err)
			}
			if n := len(p.passed()); n != 1 || s.handler.calls.Load() != before+1 {
				t.Errorf("%d requests; the handler ran %d times", n, s.handler.calls.Load()-before)
			}
			p.does(nil, nil)
			c.sends(t, p, "after it", false)
			c.sends(t, p, "after that", true)
		})
	}
	if got := s.rejected.take(); len(got) > 0 {
		t.Errorf("the service was told %v", got)
	}
}

// TestLeanOfTwo: a client that was given ClientOptions twice works as with one.
func TestLeanOfTwo(t *testing.T) {
	s, c := pair(t)
	p := newProxy(t, s.address)
	opts := append(encrypted.ClientOptions(c.id, encrypted.Logger(quiet())), encrypted.ClientOptions(c.id, encrypted.Logger(quiet()))...)
	twice := &caller{Client: newClient(t, opts...)}
	twice.sends(t, p, "the first", false)
	twice.sends(t, p, "the second", true)
}
