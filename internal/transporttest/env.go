package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"go-micro.dev/v4/transport"
)

// anyPort lets the system choose a port.
const anyPort = "127.0.0.1:0"

// errBlocked is what an operation that did not end in time ends with.
var errBlocked = errors.New("still blocked")

// env is one check's own world: a transport, its listeners and its sockets,
// all closed when the check ends.
type env struct {
	*testing.T
	name string
	caps Caps
	tr   transport.Transport
	make func(opts ...transport.Option) transport.Transport
	// patience bounds each operation.
	patience time.Duration
	// pairs is where the pairs of the check meet, once there is one.
	pairs    *serving
	arrivals chan arrival
}

// serving is a listener that serves.
type serving struct {
	transport.Listener
	// accepted receives what Accept returned.
	accepted chan error
}

// serve listens and hands each socket to the handler.
func (e *env) serve(addr string, handle func(transport.Socket)) *serving {
	e.Helper()
	l, err := e.tr.Listen(addr)
	if err != nil {
		e.Fatalf("Listen(%q): %v", addr, err)
	}
	return e.accept(l, handle)
}

// accept serves a listener until it is closed, at the latest when the check
// ends.
func (e *env) accept(l transport.Listener, handle func(transport.Socket)) *serving {
	s := &serving{Listener: l, accepted: make(chan error, 1)}
	go func() { s.accepted <- l.Accept(handle) }()
	e.Cleanup(func() { _ = e.finish("Close of the listener", l.Close) })
	return s
}

// dial opens a socket that closes when the check ends.
func (e *env) dial(addr string, opts ...transport.DialOption) transport.Client {
	e.Helper()
	c, err := e.tryDial(addr, opts...)
	if err != nil {
		e.Fatalf("Dial(%q): %v", addr, err)
	}
	return c
}

func (e *env) tryDial(addr string, opts ...transport.DialOption) (transport.Client, error) {
	c, err := e.tr.Dial(addr, opts...)
	if err == nil {
		e.Cleanup(func() { _ = e.finish("Close of the client", c.Close) })
	}
	return c, err
}

// within runs f, and stops waiting for it when the patience is over.
func (e *env) within(what string, f func() error) error {
	return bounded(what, e.patience, f)
}

// finish is within for the end of a check, where nothing may be amiss.
func (e *env) finish(what string, f func() error) error {
	return bounded(what, patience, f)
}

func bounded(what string, limit time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	err, late := take(what, limit, done)
	if late != nil {
		return late
	}
	return err
}

// wait takes the next error from a channel of results.
func (e *env) wait(what string, done <-chan error) error {
	err, late := take(what, e.patience, done)
	if late != nil {
		return late
	}
	return err
}

// signal waits for a channel to be closed or written to.
func signal[T any](e *env, what string, c <-chan T) (T, error) {
	return take(what, e.patience, c)
}

func take[T any](what string, limit time.Duration, c <-chan T) (v T, late error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v = <-c:
		return v, nil
	case <-timer.C:
		return v, fmt.Errorf("%s: %w after %v", what, errBlocked, limit)
	}
}

// send is a bounded Send.
func (e *env) send(s transport.Socket, m *transport.Message) error {
	return e.within("Send", func() error { return s.Send(m) })
}

// asyncSend starts a Send, for transports whose Send waits for the receiver. Its
// error shows as a message that does not arrive.
func asyncSend(s transport.Socket, m *transport.Message) {
	go func() { _ = s.Send(m) }()
}

// recv is a bounded Recv into a new message. The error is the transport's own
// unless Recv did not end.
func (e *env) recv(s transport.Socket) (*transport.Message, error) {
	type result struct {
		m   *transport.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		m := new(transport.Message)
		err := s.Recv(m)
		done <- result{m, err}
	}()
	r, err := signal(e, "Recv", done)
	if err != nil {
		return nil, err
	}
	return r.m, r.err
}

// recvStarted starts a Recv and returns the channel that its error will come
// through. A message is passed the other way, so that the Recv waits by then.
func (e *env) recvStarted(s, peer transport.Socket) (<-chan error, error) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var m transport.Message
		close(entered)
		ended <- s.Recv(&m)
	}()
	<-entered
	return ended, e.pass(s, peer, message("the other way"))
}

// expect receives a message and compares it.
func (e *env) expect(s transport.Socket, want *transport.Message) error {
	got, err := e.recv(s)
	if err != nil {
		return fmt.Errorf("Recv: %w", err)
	}
	return same(got, want)
}

// pass sends a message at one end and expects it at the other.
func (e *env) pass(from, to transport.Socket, m *transport.Message) error {
	sent := make(chan error, 1)
	go func() { sent <- from.Send(m) }()
	if err := e.expect(to, m); err != nil {
		return err
	}
	return e.wait("Send", sent)
}

// echoed sends a message to an echoing server and expects it back.
func (e *env) echoed(c transport.Socket, m *transport.Message) error {
	return e.pass(c, c, m)
}

// same compares bodies, and the headers that are wanted: a transport may add
// some of its own.
func same(got, want *transport.Message) error {
	if !bytes.Equal(got.Body, want.Body) {
		return fmt.Errorf("body of %d bytes arrived as %d bytes %.40q, want %.40q",
			len(want.Body), len(got.Body), got.Body, want.Body)
	}
	for k, v := range want.Header {
		if g, ok := got.Header[k]; !ok || g != v {
			return fmt.Errorf("header %.80q arrived as %.80q (present: %v), want %.80q", k, g, ok, v)
		}
	}
	return nil
}

// message makes a message with a body of the text.
func message(text string) *transport.Message {
	return &transport.Message{
		Header: map[string]string{"Content-Type": "text/plain"},
		Body:   []byte(text),
	}
}

// sized makes a message with a body of n bytes that differ from their
// neighbours and, by the seed, from those of other messages.
func sized(n int, seed int) *transport.Message {
	m := message("")
	m.Body = make([]byte, n)
	for i := range m.Body {
		m.Body[i] = byte(i + i/251 + seed)
	}
	return m
}

// echo answers each message with itself.
func echo(s transport.Socket) {
	for {
		var m transport.Message
		if err := s.Recv(&m); err != nil {
			return
		}
		if err := s.Send(&m); err != nil {
			return
		}
	}
}
