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
	sealed, outside, err := s.seal(l, topic, m)
	if err != nil {
		return err
	}
	b.counts.sealed.Add(1)
	return b.inner.Publish(topic, &broker.Message{Header: outside, Body: sealed}, opts...)
}

// drafts are messages with room for fields.
var drafts = sync.Pool{New: func() any { return new(envelope.Message) }}

// seal makes the envelope, and the headers that travel beside it.
func (s *sender) seal(l *live, topic string, given *broker.Message) (sealed []byte, outside map[string]string, err error) {
	m := drafts.Get().(*envelope.Message)
	defer func() {
		clear(m.Clear)
		clear(m.Headers)
		*m = envelope.Message{Clear: m.Clear[:0], Headers: m.Headers[:0]}
		drafts.Put(m)
	}()
	m.Topic, m.Body = topic, given.Body
	outside = s.rule.split(given.Header, m)
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
			return nil, nil, err
		}
		rand.Read(random[:]) // it never fails
		sealed, err = o.epoch.Seal(nil, m, random, true)
		switch {
		case errors.Is(err, envelope.ErrExhausted):
			continue // others have used it up at this moment
		case err != nil:
			return nil, nil, fmt.Errorf("sealed: %s: %w", keys.Quote(topic), err)
		case s.rule.signatures && l.id.Generation() != o.generation:
			continue // it may be signed with another key than the epoch's card has
		}
		return sealed, outside, nil
	}
}
