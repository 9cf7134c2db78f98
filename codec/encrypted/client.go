package encrypted

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"go-micro.dev/v4/client"
	raw "go-micro.dev/v4/codec/bytes"
)

// checkCall refuses what would go out, or come in, in clear, and returns the body to send.
func checkCall(req client.Request, rsp any) (any, error) {
	if err := checkClient(req.ContentType()); err != nil {
		return nil, err
	}
	body, err := checkBody(req.Body())
	if err != nil {
		return nil, err
	}
	if _, ok := rsp.(*raw.Frame); ok {
		return nil, errRawFrame
	}
	return body, nil
}

// checkRequest refuses what would go out in clear, and gives a request without a body an
// empty one, since go-micro would send nothing that could be authenticated.
func checkRequest(req client.Request) (client.Request, error) {
	if err := checkClient(req.ContentType()); err != nil {
		return nil, err
	}
	body, err := checkBody(req.Body())
	if err != nil {
		return nil, err
	}
	if req.Body() == nil {
		req = &bodied{req, body}
	}
	return req, nil
}

func checkClient(contentType string) error {
	if strings.HasPrefix(contentType, contentTypePrefix) {
		return nil
	}
	return fmt.Errorf("%w: content type %s: this client sends encrypted requests only: use encrypted.ContentTypeJSON or its like, or another client", ErrClear, quote(contentType))
}

func checkBody(body any) (any, error) {
	switch body.(type) {
	case nil:
		return &Frame{}, nil
	case *raw.Frame:
		return nil, errRawFrame
	}
	return body, nil
}

// bodied is a request with another body.
type bodied struct {
	client.Request
	body any
}

func (b *bodied) Body() any { return b.body }

// wrapper keeps from going out in clear what streams and events send past a codec, as
// wrapCall does for calls.
type wrapper struct {
	client.Client
	e *engine
}

func (w *wrapper) Stream(ctx context.Context, req client.Request, opts ...client.CallOption) (client.Stream, error) {
	req, err := checkRequest(req)
	if err != nil {
		return nil, err
	}
	s, err := w.Client.Stream(ctx, req, opts...)
	if err != nil {
		return nil, restore(err)
	}
	return &clientStream{Stream: s}, nil
}

func (w *wrapper) Publish(ctx context.Context, m client.Message, opts ...client.PublishOption) error {
	if !w.e.o.brokerSeals {
		if err := checkClient(m.ContentType()); err != nil {
			return err
		}
		if _, ok := m.Payload().(*raw.Frame); ok {
			return errRawFrame
		}
	}
	return restore(w.Client.Publish(ctx, m, opts...))
}

// clientStream keeps go-micro's Frames out of a stream, and lets those who receive from it
// take turns: go-micro does not, and two in one codec would give its memory back twice, to
// be that of two other calls at once.
type clientStream struct {
	client.Stream
	turn sync.Mutex
}

func (s *clientStream) Send(m any) error {
	m, err := checkBody(m)
	if err != nil {
		return err
	}
	return restore(s.Stream.Send(m))
}

func (s *clientStream) Recv(m any) error {
	if _, ok := m.(*raw.Frame); ok {
		return errRawFrame
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	return restore(s.Stream.Recv(m))
}

func (s *clientStream) Error() error { return restore(s.Stream.Error()) }
