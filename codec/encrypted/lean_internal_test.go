package encrypted

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/codec/json"
	merrors "go-micro.dev/v4/errors"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/transport/headers"
)

// direct is a call of go-micro's without a transport. It ends the context of the caller
// after each request, if end is not nil, and fails to send any but the first if cut. The
// handler fails with said, if that is not "".
type direct struct {
	client, server *engine
	said           string
	end            func()
	cut            bool
	sent           int
}

func (d *direct) call(_ context.Context, _ *registry.Node, req client.Request, rsp any, _ client.CallOptions) error {
	failed := func(err error) error { return merrors.InternalServerError("go.micro.client.codec", "%v", err) }
	if d.sent++; d.cut && d.sent > 1 {
		return errors.New("no connection")
	}
	var a, b wire
	asking, serving := d.client.newCodec(json.NewCodec)(&a), d.server.newCodec(json.NewCodec)(&b)
	if err := asking.Write(call(nil), req.Body()); err != nil {
		return failed(err)
	}
	answer := &codec.Message{Type: codec.Response, Error: d.said}
	if err := serving.ReadHeader(call(a.out.Bytes()), codec.Request); err != nil {
		answer = &codec.Message{Type: codec.Error, Error: err.Error()}
	}
	if err := serving.Write(answer, &struct{ Greeting string }{"Hello"}); err != nil {
		return failed(err)
	}
	a.in.Write(b.out.Bytes())
	if d.end != nil {
		d.end()
	}
	m := &codec.Message{Header: map[string]string{headers.Error: answer.Header[headers.Error]}}
	if err := asking.ReadHeader(m, codec.Response); err != nil {
		return failed(err)
	}
	if m.Error != "" {
		return errors.New(m.Error)
	}
	return asking.ReadBody(rsp)
}

// forgets makes a service forget all epochs, as one does that starts anew.
func (e *engine) forgets() {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	clear(e.in.epochs)
}

// TestAgain: what is sent once more, and what the hook is told.
func TestAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		ended, cut  bool
		said        string
		sent        int
		works       bool
		unauthentic bool
		told        int
	}{
		"succeeds":            {sent: 2, works: true},
		"the handler fails":   {said: "no such name", sent: 2},
		"the context is over": {ended: true, sent: 1, unauthentic: true, told: 1},
		"it cannot be sent":   {cut: true, sent: 2, told: 1},
	} {
		t.Run(name, func(t *testing.T) {
			told := 0
			e, server := ends(t, OnReject(func(r Rejection) {
				if r.Reason == Clear {
					told++
				}
			}))
			d := &direct{client: e, server: server}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req := client.NewRequest("greeter", "Greeter.Hello", &struct{ Name string }{"John"}, client.WithContentType(ContentTypeJSON))
			hello := func() error {
				return e.wrapCall(d.call)(ctx, &registry.Node{Address: "a"}, req, &struct{ Greeting string }{}, client.CallOptions{})
			}
			for range 2 {
				if err := hello(); err != nil {
					t.Fatal(err)
				}
			}
			server.forgets()
			d.sent, d.cut, d.said = 0, tc.cut, tc.said
			if tc.ended {
				d.end = cancel
			}
			err := hello()
			if (err == nil) != tc.works || errors.Is(err, ErrUnauthenticated) != tc.unauthentic || d.sent != tc.sent || told != tc.told {
				t.Errorf("sent %d times, the hook was told %d times, error: %v", d.sent, told, err)
			}
		})
	}
}

// TestNodes: what an epoch remembers of nodes is bounded, and a refusal counts once for
// all requests that were on their way.
func TestNodes(t *testing.T) {
	var n nodes
	lean := func(address string) bool {
		_, _, yes := n.lean(address)
		return yes
	}
	for i := range maxNodes + 10 {
		n.answered(fmt.Sprint(i))
	}
	if len(n.known) != maxNodes || !lean("0") || lean(fmt.Sprint(maxNodes)) {
		t.Errorf("%d nodes are known", len(n.known))
	}
	n = nodes{}
	for refusals, inline := range []int{0, 1, 3, 7, 15} {
		n.answered("a")
		at, seen, yes := n.lean("a")
		if !yes || seen != refusals {
			t.Fatalf("after %d refusals a request brings its epoch, or %d refusals were counted", refusals, seen)
		}
		for range 10 {
			at.refused(seen)
		}
		if lean("a") {
			t.Error("after a refusal a request goes without its epoch")
		}
		n.answered("a")
		at.refused(seen) // one that was sent before, and is late
		for i := range inline {
			if lean("a") {
				t.Fatalf("after refusal %d, request %d goes without its epoch", refusals+1, i)
			}
		}
		if !lean("a") {
			t.Fatalf("after refusal %d, %d requests have brought the epoch, and the next does too", refusals+1, inline)
		}
	}
	at := n.known["a"]
	at.refusals = 1000
	if at.refused(1000); at.inline != 1<<maxPatience-1 {
		t.Errorf("after very many refusals %d requests bring the epoch", at.inline)
	}
	var wg sync.WaitGroup
	n = nodes{}
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				if at, seen, yes := n.lean("a"); yes && i%7 == 0 {
					at.refused(seen)
				} else if !yes {
					n.answered("a")
				}
			}
		})
	}
	wg.Wait()
}
