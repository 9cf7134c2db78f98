package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"

	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// outgoing is a message in the making. It is used again, with what it has allocated.
type outgoing struct {
	msg    natsgo.Msg
	header natsgo.Header
	values []string
	odd    []string
	names  [fewHeaders]string
	seen   int
	lower  map[string]string // nil until there are more than fewHeaders
}

// manyHeaders is from where on an outgoing is not kept.
const manyHeaders = 64

var outgoings = sync.Pool{New: func() any { return &outgoing{header: natsgo.Header{}} }}

func (o *outgoing) recycle() {
	if cap(o.values) > manyHeaders {
		return
	}
	clear(o.header)
	clear(o.values)
	clear(o.odd)
	clear(o.names[:o.seen])
	o.values, o.odd, o.seen, o.lower = o.values[:0], o.odd[:0], 0, nil
	o.msg = natsgo.Msg{}
	outgoings.Put(o)
}

// Publish sends a message. Neither its header nor its body is kept or changed.
//
// On core NATS it returns once the message is on its way: a nil error does not say that
// anybody has received it, nor that the server's permissions allow it (see
// PublishDenied). While the link is down up to 8 MiB wait for it to come back, and what
// is beyond that is an error. With JetStream it returns once the stream has stored it.
//
// Errors wrap ErrInvalid, ErrTooLarge, ErrNotConnected, ErrDenied or ErrStream.
func (b *natsBroker) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	l := b.link.Load()
	if l == nil {
		var err error
		if l, err = b.current(); err != nil {
			return err
		}
	}
	if err := checkSubject(topic); err != nil {
		return err
	}
	if m == nil {
		return invalidf("the message is nil")
	}
	var ctx context.Context
	var id string
	if len(opts) > 0 {
		var o broker.PublishOptions
		for _, f := range opts {
			f(&o)
		}
		if ctx = o.Context; ctx != nil && ctx.Err() != nil {
			return fmt.Errorf("nats: publish: %w", ctx.Err())
		}
		if id, _ = option[string](ctx, messageIDKey{}); !plainValue(id) || len(id) > maxMessageID {
			return invalidf("MessageID: want at most %d bytes without control characters", maxMessageID)
		}
	}
	if l.settings.stream != nil {
		return l.store(ctx, topic, m, id)
	}
	if len(m.Header) == 0 {
		return l.explain(l.nc.Publish(topic, m.Body), m.Body)
	}
	o := outgoings.Get().(*outgoing)
	defer o.recycle()
	if err := o.pack(m.Header); err != nil {
		return err
	}
	o.msg.Subject, o.msg.Header, o.msg.Data = topic, o.header, m.Body
	return l.explain(l.nc.PublishMsg(&o.msg), m.Body)
}

// CopiesPublished returns true: Publish keeps nothing of a message once it has returned,
// so that a wrapper can use its memory again.
func (b *natsBroker) CopiesPublished() bool { return true }

// explain says what to do about an error of nats.go's.
func (l *link) explain(err error, body []byte) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, natsgo.ErrMaxPayload):
		return fmt.Errorf("nats: %w: the body has %d bytes, and with the headers the server takes %d: publish less, or raise its max_payload", ErrTooLarge, len(body), l.nc.MaxPayload())
	case errors.Is(err, natsgo.ErrConnectionClosed), errors.Is(err, natsgo.ErrConnectionDraining):
		return fmt.Errorf("nats: %w: %w", ErrNotConnected, err)
	case errors.Is(err, natsgo.ErrReconnectBufExceeded):
		return fmt.Errorf("nats: %w: the link is down, and what waits for it has reached %d bytes: %w", ErrNotConnected, l.nc.Opts.ReconnectBufSize, err)
	case errors.Is(err, natsgo.ErrPermissionViolation):
		return fmt.Errorf("nats: %w: %w", ErrDenied, err)
	}
	return err
}
