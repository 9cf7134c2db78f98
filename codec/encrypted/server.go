package encrypted

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/codec"
	raw "go-micro.dev/v4/codec/bytes"
	merrors "go-micro.dev/v4/errors"
	"go-micro.dev/v4/server"
)

type callerKey struct{}

// Caller returns who sealed the request or event that a handler has been given. It
// answers only for what came through the codecs of ServerOptions.
func Caller(ctx context.Context) (identity.Peer, bool) {
	if ctx == nil {
		return identity.Peer{}, false
	}
	peer, ok := ctx.Value(callerKey{}).(*identity.Peer)
	if !ok {
		return identity.Peer{}, false
	}
	return *peer, true
}

// wrapHandler lets only requests through that our codecs have opened.
func (e *engine) wrapHandler(next server.HandlerFunc) server.HandlerFunc {
	return func(ctx context.Context, req server.Request, rsp any) error {
		if _, twice := Caller(ctx); twice {
			return next(ctx, req, rsp)
		}
		c := e.opened.take(req.Header()[openedHeader])
		if c == nil {
			return e.clear(req.Service()+" "+req.Endpoint(), req.ContentType())
		}
		c.served.handed = ""
		delete(req.Header(), openedHeader)
		if c.served.accept != "" {
			req.Header()[acceptHeader] = c.served.accept
		}
		if isRawFrame(req.Body()) || isRawFrame(rsp) {
			return merrors.InternalServerError("encrypted", "%v", errRawFrame)
		}
		ctx = context.WithValue(ctx, callerKey{}, c.served.peer)
		if s, ok := rsp.(server.Stream); ok {
			rsp = &serverStream{Stream: s, c: c, ctx: ctx}
		}
		return next(ctx, req, rsp)
	}
}

func isRawFrame(v any) bool {
	switch v.(type) {
	case raw.Frame, *raw.Frame:
		return true
	}
	return false
}

// clear refuses what has come in clear.
func (e *engine) clear(target, contentType string) error {
	e.report.tell(Rejection{Target: cut(target), Reason: Clear, Err: fmt.Errorf("content type %s", quote(contentType))})
	return merrors.Forbidden("encrypted", "%s", clearText)
}

const clearText = "encrypted: this service takes nothing in clear: use encrypted.ClientOptions"

// serverStream is a stream as the handler has it.
//
// go-micro's own queues messages whose memory it writes the next one to, so that a
// stream that is not read at once delivers other messages than were sent. It takes
// memory as it is in a bytes.Frame: each message is sealed into memory of its own.
type serverStream struct {
	server.Stream
	c   *instance
	ctx context.Context

	trusted uint64 // under which generation of our identity; under instance.answering

	turn sync.Mutex // of those who receive; see clientStream

	mu        sync.Mutex
	receiving bool
	closed    bool
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) Send(v any) error {
	if isRawFrame(v) {
		return errRawFrame
	}
	s.c.answering.Lock()
	defer s.c.answering.Unlock()
	if s.isClosed() {
		return io.ErrClosedPipe
	}
	if err := s.revoked(); err != nil {
		return err
	}
	data, err := s.c.sealAnswer(nil, s.c.served, &codec.Message{Type: codec.Response}, "", v)
	if err != nil {
		return err
	}
	return s.Stream.Send(&raw.Frame{Data: data})
}

// revoked ends a stream whose caller is not trusted any more since it has opened it, after
// each change of trust. That its certificate ends meanwhile does not matter.
func (s *serverStream) revoked() error {
	e, from := s.c.e, s.c.served.from
	generation := e.id.Generation()
	if err := e.usable(); err != nil || s.trusted == generation && from.chain != nil {
		return err
	}
	var err error
	if from.chain == nil {
		err = e.verdictOf(from, time.Now()).err
	} else {
		_, _, err = e.id.VerifyAsOf(from.chain, from.reader.Header.Created)
	}
	if err != nil {
		e.report.tell(Rejection{Reason: Sender, Err: err, Peer: *s.c.served.peer})
		return fmt.Errorf("%w: the caller is not trusted any more", ErrRefused)
	}
	s.trusted = generation
	return nil
}

func (s *serverStream) Recv(v any) error {
	if isRawFrame(v) {
		return errRawFrame
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return io.EOF
	}
	s.receiving = true
	s.mu.Unlock()
	err := s.Stream.Recv(v)
	s.mu.Lock()
	s.receiving = false
	s.mu.Unlock()
	return err
}

func (s *serverStream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends the stream for the handler. go-micro's own Close gives the stream's
// buffers to other calls although the end of the stream is still written to them, so it
// is called only where somebody waits in Recv; the stream itself ends when the handler
// returns.
func (s *serverStream) Close() error {
	s.mu.Lock()
	waits := s.receiving && !s.closed
	s.closed = true
	s.mu.Unlock()
	if !waits {
		return nil
	}
	return s.Stream.Close()
}

// wrapSubscriber lets only events through that were sealed for their topic.
func (e *engine) wrapSubscriber(next server.SubscriberFunc) server.SubscriberFunc {
	return func(ctx context.Context, m server.Message) error {
		if e.o.brokerSeals {
			return next(ctx, m)
		}
		if _, twice := Caller(ctx); twice {
			return next(ctx, m)
		}
		c, ours := m.Codec().(*instance) // as the one that has decoded it
		if checkContentType(m.ContentType()) != nil || !ours {
			return e.clear(m.Topic(), m.ContentType())
		}
		// That one was not told the topic.
		opened := new(openedMessage)
		topic, err := e.openEvent(opened, m.Body(), c.innerCodec().String(), time.Now())
		if err == nil && topic != m.Topic() {
			err = &rejected{Misdirected, fmt.Errorf("sealed for topic %s", quote(topic)), *opened.peer}
		}
		if err != nil {
			return e.report.reject(m.Topic(), err)
		}
		return next(context.WithValue(ctx, callerKey{}, opened.peer), m)
	}
}
