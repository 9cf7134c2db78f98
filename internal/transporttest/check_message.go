package transporttest

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"go-micro.dev/v4/transport"
)

func messageChecks() []check {
	return []check{
		{name: "message/echo", run: plainEcho},
		{name: "message/order", run: inOrder},
		{name: "message/sizes", run: sizes},
		{name: "message/1 MiB", run: big(1 << 20)},
		{name: "message/8 MiB", run: big(8 << 20)},
		{name: "message/header keys and values are exact", needs: ExactHeaders, run: exactHeaders},
		{name: "message/many headers", run: manyHeaders},
		{name: "message/reply has its own headers only", needs: OwnHeaders, run: ownHeaders},
		{name: "message/headers are never nil", needs: HeadersNeverNil, run: headersNeverNil},
		{name: "message/nil and empty parts", run: emptyParts},
		{name: "message/receive into nil", needs: NilRecvRefused, run: nilRecv},
	}
}

// plainEcho: the smallest use of a transport, without any option.
func plainEcho(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr())
	for i := range 3 {
		if err := e.echoed(c, message(fmt.Sprint("hello ", i))); err != nil {
			return err
		}
	}
	return nil
}

// inOrder: messages that are under way at the same time arrive in the order in
// which they were sent.
func inOrder(e *env) error {
	const n = 200
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr(), transport.WithStream())
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := c.Send(message(fmt.Sprint(i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		if err := e.expect(c, message(fmt.Sprint(i))); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return e.wait("Send", sent)
}

// sizes: around the places where a length takes another byte, a packet is full
// or a buffer is.
func sizes(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr(), transport.WithStream())
	for _, edge := range []int{1, 64, 128, 256, 1200, 4096, 16384, 32768, 65536} {
		for n := edge - 1; n <= edge+1; n++ {
			if err := e.echoed(c, sized(n, n)); err != nil {
				return fmt.Errorf("%d bytes: %w", n, err)
			}
		}
	}
	return nil
}

func big(n int) func(*env) error {
	return func(e *env) error {
		s := e.serve(anyPort, echo)
		c := e.dial(s.Addr(), transport.WithStream())
		for seed := range 2 {
			if err := e.echoed(c, sized(n, seed)); err != nil {
				return err
			}
		}
		return e.echoed(c, message("a small one after it"))
	}
}

// exactHeaders: go-micro's request id is Micro-ID. A transport that turns it
// into Micro-Id loses it.
func exactHeaders(e *env) error {
	p := e.pair()
	m := message("headers")
	maps.Copy(m.Header, map[string]string{
		"Micro-ID":       "upper",
		"Micro-Id":       "title",
		"micro-id":       "lower",
		"x-lower-case":   "a",
		"X-UPPER-CASE":   "b",
		"X-Empty":        "",
		"with space":     "c",
		"with:colon":     "d",
		"ünïcode":        "größe",
		"\x00\xff\n key": "\x00\xff\r\n value ",
		"Content-Length": "not a length",
		"Host":           "nobody",
		"X-Long":         strings.Repeat("long ", 4096),
	})
	if err := e.pass(p.client, p.server, m); err != nil {
		return fmt.Errorf("to the server: %w", err)
	}
	if err := e.pass(p.server, p.client, m); err != nil {
		return fmt.Errorf("to the client: %w", err)
	}
	return nil
}

func manyHeaders(e *env) error {
	s := e.serve(anyPort, echo)
	m := message("headers")
	for i := range 500 {
		m.Header[fmt.Sprintf("X-Header-%d", i)] = strings.Repeat("v", i)
	}
	return e.echoed(e.dial(s.Addr(), transport.WithStream()), m)
}

// ownHeaders: metadata of a request must not find its way into the reply by
// itself.
func ownHeaders(e *env) error {
	p := e.pair()
	m := message("request")
	m.Header["X-Request"] = "not for you"
	for range 2 {
		if err := e.pass(p.client, p.server, m); err != nil {
			return err
		}
		asyncSend(p.server, message("reply"))
		got, err := e.recv(p.client)
		if err != nil {
			return fmt.Errorf("Recv: %w", err)
		}
		for _, k := range []string{"X-Request", "User-Agent"} {
			if v, ok := got.Header[k]; ok {
				return fmt.Errorf("the reply has the header %s: %q, which the server did not send", k, v)
			}
		}
	}
	return nil
}

// headersNeverNil: go-micro's server and its wrappers write to the map.
func headersNeverNil(e *env) error {
	p := e.pair()
	for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
		asyncSend(way.from, &transport.Message{Body: []byte("no headers")})
		m, err := e.recv(way.to)
		if err != nil {
			return fmt.Errorf("Recv: %w", err)
		}
		if m.Header == nil {
			return errors.New("the header map is nil")
		}
	}
	return nil
}

// emptyParts: errors travel as headers without a body, and a frame may have
// neither.
func emptyParts(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr(), transport.WithStream())
	headers := map[string]string{"X-Only": "header"}
	for i, m := range []*transport.Message{
		{},
		{Header: map[string]string{}, Body: []byte{}},
		{Header: headers},
		{Header: headers, Body: []byte{}},
		{Body: []byte("only body")},
		{},
		{Header: headers, Body: []byte("both")},
	} {
		if err := e.echoed(c, m); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return nil
}

func nilRecv(e *env) error {
	p := e.pair()
	for _, way := range []struct{ from, to transport.Socket }{{p.client, p.server}, {p.server, p.client}} {
		sent := make(chan error, 1)
		go func() { sent <- way.from.Send(message("kept")) }()
		err := e.within("Recv(nil)", func() error { return way.to.Recv(nil) })
		if err == nil || errors.Is(err, errBlocked) {
			return fmt.Errorf("Recv(nil) returned %v, want an error", err)
		}
		if err := e.wait("Send", sent); err != nil {
			return err
		}
		if err := e.expect(way.to, message("kept")); err != nil {
			return fmt.Errorf("after Recv(nil): %w", err)
		}
	}
	return nil
}
