package sealed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/broker"
)

// Publish seals a message to the topic's subscribers and hands it to the inner broker,
// whose errors it returns. Nothing is sent with an error that wraps ErrNoIdentity,
// ErrNoRule, ErrNotPublisher, ErrNoRecipients, ErrLimit or identity.ErrExpired. The
// message is not changed, and may be as soon as Publish has returned.
func (b *sealedBroker) Publish(topic string, m *broker.Message, opts ...broker.PublishOption) error {
	l, err := b.use()
	if err != nil {
		return err
	}
	if m == nil {
		return errors.New("sealed: publish: the message is nil")
	}
	r := l.rules.of(topic)
	if r == nil {
		return fmt.Errorf("%w: %s: add sealed.Topic(%s, sealed.Publishers(…), sealed.Subscribers(…)) to the broker's options", ErrNoRule, keys.Quote(topic), keys.Quote(topic))
	}
	s := l.senders[r]
	if s == nil {
		return fmt.Errorf("%w: %s is not among the publishers of %s: name it in sealed.Publishers, here and at the subscribers", ErrNotPublisher, l.self, keys.Quote(r.pattern))
	}
	out := b.parcel()
	if err := s.seal(l, topic, m, out); err != nil {
		return err
	}
	b.counts.sealed.Add(1)
	err = b.inner.Publish(topic, out, opts...)
	b.recycle(out)
	return err
}

// copier is an inner broker, such as broker/nats, that says whether it keeps nothing of a
// message once Publish has returned, and does not write into it, whose header may be nil.
// Others may keep it, and memory does.
type copier interface{ CopiesPublished() bool }

func copies(inner broker.Broker) bool {
	c, ok := inner.(copier)
	return ok && c.CopiesPublished()
}

// parcels are messages that were published by copiers, with room for a body.
var parcels = sync.Pool{New: func() any { return new(broker.Message) }}

// mostRecycled bounds the room for a body that waits to be used again, in bytes.
const mostRecycled = 64 << 10

// parcel returns a message without content. Brokers that keep it may also write into its
// header.
func (b *sealedBroker) parcel() *broker.Message {
	if b.copies {
		return parcels.Get().(*broker.Message)
	}
	return &broker.Message{Header: make(map[string]string)}
}

func (b *sealedBroker) recycle(m *broker.Message) {
	if b.copies && cap(m.Body) <= mostRecycled {
		m.Header, m.Body = nil, m.Body[:0]
		parcels.Put(m)
	}
}

// drafts are messages with room for fields.
var drafts = sync.Pool{New: func() any { return new(envelope.Message) }}

// seal puts the envelope, and the headers that travel beside it, into out, which has no
// content.
func (s *sender) seal(l *live, topic string, given, out *broker.Message) error {
	m := drafts.Get().(*envelope.Message)
	defer func() {
		clear(m.Clear)
		clear(m.Headers)
		*m = envelope.Message{Clear: m.Clear[:0], Headers: m.Headers[:0]}
		drafts.Put(m)
	}()
	m.Topic, m.Body = topic, given.Body
	if outside := s.rule.split(given.Header, m); outside != nil {
		out.Header = outside
	}
	if s.rule.pad > 0 {
		m.Pad(s.rule.pad)
	}
	var random [envelope.RandomSize]byte
	for {
		m.Time = time.Now()
		o, err := s.current(l, m.Time)
		switch {
		case errors.Is(err, errRenewed):
			continue
		case err != nil:
			return err
		}
		rand.Read(random[:]) // it never fails
		sealed, err := o.epoch.Seal(out.Body, m, random, true)
		switch {
		case errors.Is(err, envelope.ErrExhausted):
			continue // others have used it up at this moment
		case err != nil:
			return fmt.Errorf("sealed: %s: %w", keys.Quote(topic), err)
		case s.rule.signatures && l.id.Generation() != o.generation:
			continue // it may be signed with another key than the epoch's card has
		}
		out.Body = sealed
		return nil
	}
}
