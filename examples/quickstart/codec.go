package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/go-signet/signet/codec/encrypted"
	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// codecChapter: services that must pass a proxy, which reads and tampers as it likes.
func codecChapter(ctx context.Context, s *stage) error {
	bare, err := s.startNaive(ctx)
	if err != nil {
		return err
	}
	greeter, caller := s.encrypted("greeter", s.greeter), s.encrypted("caller", s.caller)
	if err := s.serve(greeter, new(Greeter)); err != nil {
		return err
	}
	card, err := s.greeter.id.Card()
	if err != nil {
		return err
	}
	if err := s.caller.id.AddCard(card); err != nil {
		return err
	}
	p, err := s.newTamperer(greeter.address())
	if err != nil {
		return err
	}
	s.say("now with codec/encrypted at both ends, and the same proxy between them")
	call := func(ctx context.Context) error {
		_, err := caller.hello(ctx, "greeter", "John", client.WithAddress(p.address))
		return err
	}
	answer, err := caller.hello(ctx, "greeter", "John", client.WithAddress(p.address))
	s.promiseAnswer("John", answer, err)
	s.promise("the handler knows that "+s.caller.id.ID()+" called", greeter.handler.sawCaller() == s.caller.id.ID(), "it saw %s", greeter.handler.sawCaller())
	seen := p.seen()
	s.promise("the proxy saw neither the name nor the answer", len(seen) > 0 && !bytes.Contains(seen, []byte("John")) && !bytes.Contains(seen, []byte("Hello ")), "it did")

	p.tamper(flipped, nil)
	s.repel(ctx, attack{what: "the proxy changes one bit of the request", reason: "not authenticated", spared: []*Greeter{greeter.handler}, try: call})
	p.tamper(func([]byte) []byte { return []byte(`{"name":"Mallory"}`) }, nil)
	s.repel(ctx, attack{what: "the proxy makes up a request in clear", reason: "not authenticated", spared: []*Greeter{greeter.handler}, try: call})
	recorded := p.firstRequest()
	p.tamper(func([]byte) []byte { return recorded }, nil)
	s.repel(ctx, attack{what: "the proxy sends the first request again", reason: "not authenticated", spared: []*Greeter{greeter.handler}, try: call})
	p.tamper(nil, func([]byte) []byte { return []byte(`{"greeting":"Hello Mallory"}`) })
	s.attack("the proxy makes up an answer")
	answer, err = caller.hello(ctx, "greeter", "John", client.WithAddress(p.address))
	s.promise("the caller does not take it for greeter's", err != nil && answer == "" && strings.Contains(err.Error(), "not authenticated"), "it got %q, error: %v", answer, err)
	if err != nil {
		s.show("%v", err)
	}
	p.tamper(nil, nil)
	answer, err = caller.hello(ctx, "greeter", "Jane", client.WithAddress(p.address))
	s.promiseAnswer("Jane", answer, err)

	s.repel(ctx, attack{what: "a client without the codec calls, in clear", reason: "takes nothing in clear", spared: []*Greeter{greeter.handler},
		try: func(ctx context.Context) error {
			_, err := bare.hello(ctx, "greeter", "John", client.WithAddress(greeter.address()))
			return err
		}})
	return nil
}

// startNaive shows what the proxy does to a call in clear, and returns the caller.
func (s *stage) startNaive(ctx context.Context) (*member, error) {
	reg := registry.NewMemoryRegistry()
	greeter := s.newMember("greeter", transport.NewHTTPTransport(), reg)
	if err := s.serve(greeter, new(Greeter)); err != nil {
		return nil, err
	}
	p, err := s.newTamperer(greeter.address())
	if err != nil {
		return nil, err
	}
	caller := s.newMember("caller", transport.NewHTTPTransport(), reg)
	s.say("between caller and greeter stands a proxy, and beyond it there is only http")
	p.tamper(func(body []byte) []byte { return bytes.ReplaceAll(body, []byte("John"), []byte("Mallory")) }, nil)
	answer, err := caller.hello(ctx, "greeter", "John", client.WithAddress(p.address))
	s.promise("the attack is real: it makes greeter greet somebody else", err == nil && answer == "Hello Mallory", "the answer is %q, error: %v", answer, err)
	return caller, nil
}

// encrypted makes a member whose calls are encrypted, over http.
func (s *stage) encrypted(name string, as *member) *member {
	reg := registry.NewMemoryRegistry()
	sel := selector.NewSelector(selector.Registry(reg))
	var calls sync.WaitGroup
	service := micro.NewService(
		micro.Server(server.NewServer(encrypted.ServerOptions(as.id)...)),
		micro.Client(client.NewClient(append(encrypted.ClientOptions(as.id),
			client.Selector(sel), client.Retries(0), client.PoolSize(0))...)),
		micro.Broker(broker.NewMemoryBroker()),
		micro.Name(name),
		micro.Address("127.0.0.1:0"),
		micro.Registry(reg),
		micro.Transport(transport.NewHTTPTransport()),
		micro.WrapCall(counting(&calls)),
	)
	s.atEnd(sel.Close)
	s.atEnd(func() error { calls.Wait(); return nil })
	return &member{Service: service, id: as.id}
}

// tamperer is an HTTP proxy that does to bodies what it is told.
type tamperer struct {
	address string

	mu          sync.Mutex
	forth, back func([]byte) []byte
	all, first  []byte
}

// newTamperer starts one that ends with the run.
func (s *stage) newTamperer(target string) (*tamperer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tamperer{address: l.Addr().String()}
	// go-micro's http transport changes the key of the request ID, so that a request that
	// follows another on its connection may get lost.
	onward := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{
		Transport: onward,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			body := t.pass(r.In.Body, true)
			r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ModifyResponse: func(r *http.Response) error {
			body := t.pass(r.Body, false)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Del("Content-Length")
			return nil
		},
	}
	srv := &http.Server{Handler: proxy}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // until it is closed
	}()
	s.atEnd(func() error {
		err := srv.Close()
		<-done
		return err
	})
	return t, nil
}

// pass records a body, and tampers with it.
func (t *tamperer) pass(r io.Reader, forth bool) []byte {
	body, _ := io.ReadAll(r) // what is cut off, the other end refuses
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, body...)
	f := t.back
	if forth {
		f = t.forth
		if t.first == nil {
			t.first = slices.Clone(body)
		}
	}
	if f != nil {
		return f(body)
	}
	return body
}

func (t *tamperer) tamper(forth, back func([]byte) []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forth, t.back = forth, back
}

// seen is what has passed.
func (t *tamperer) seen() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// firstRequest is the first request that has passed.
func (t *tamperer) firstRequest() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first
}

func flipped(body []byte) []byte {
	out := slices.Clone(body)
	out[len(out)/2] ^= 1
	return out
}
