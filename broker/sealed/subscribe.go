package sealed

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/transport/headers"
)

// subscription opens what the inner broker delivers, and hands it to one handler.
type subscription struct {
	broker  *sealedBroker
	handler broker.Handler
	topic   string
	queue   string
	autoAck bool
	replay  *replay // nil for History
}

// subscriber is what the user holds.
type subscriber struct {
	broker.Subscriber
	replay *replay
}

// Unsubscribe ends the inner subscription and forgets which messages were handled.
func (s *subscriber) Unsubscribe() error {
	err := s.Subscriber.Unsubscribe()
	if s.replay != nil {
		s.replay.release()
	}
	return err
}

// Subscribe has the handler called with what is published on a topic, opened; see
// Sender. A topic with wildcards, where the inner broker has them, needs a rule for
// something that it may bring; each message is then judged by the rule of its own topic.
// The error wraps ErrNoIdentity, ErrNoRule or ErrNotSubscriber, or is the inner
// broker's.
//
// What is refused is reported to OnReject and the log. The broker inside is told that it
// was handled, since it would be refused again; except where another moment, or another
// member of the queue group, may see it otherwise: then it gets an error.
//
// With broker.DisableAutoAck a message counts as handled once Ack was called on its
// event, and until then may be delivered again.
func (b *sealedBroker) Subscribe(topic string, h broker.Handler, opts ...broker.SubscribeOption) (broker.Subscriber, error) {
	l, err := b.use()
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("sealed: subscribe: the handler is nil")
	}
	may, known := l.rules.reads(topic)
	switch {
	case !known:
		return nil, fmt.Errorf("%w: %s: add sealed.Topic(%s, sealed.Publishers(…), sealed.Subscribers(…)) to the broker's options", ErrNoRule, keys.Quote(topic), keys.Quote(topic))
	case !may:
		return nil, fmt.Errorf("%w: %s is not among the subscribers of %s: name it in sealed.Subscribers, here and at the publishers", ErrNotSubscriber, l.self, keys.Quote(topic))
	}
	o := broker.NewSubscribeOptions(opts...)
	s := &subscription{broker: b, handler: h, topic: topic, queue: o.Queue, autoAck: o.AutoAck}
	if history, _ := option[bool](o.Context, historyKey{}); !history {
		s.replay = newReplay()
	}
	inner, err := b.inner.Subscribe(topic, s.handle, opts...)
	if err != nil {
		return nil, err
	}
	return &subscriber{inner, s.replay}, nil
}

// handle is the inner broker's handler.
func (s *subscription) handle(inner broker.Event) error {
	l, err := s.broker.use()
	if err != nil {
		s.broker.report.warnf("sealed: a message is left to the broker: %v", err)
		return errRefused
	}
	now := time.Now()
	topic, m := inner.Topic(), inner.Message() // which may decode each time: once
	if m == nil {
		m = new(broker.Message)
	}
	ev := &event{subscription: s, live: l, inner: inner, topic: topic}
	claimed, err := s.open(l, ev, m, now)
	if err != nil {
		return s.refuse(l, ev, claimed, err)
	}
	return s.deliver(ev)
}

// open checks a message in the order that costs least, and opens it. The event is
// complete, and its replay state Busy, if there is no error.
func (s *subscription) open(l *live, ev *event, m *broker.Message, now time.Time) (claimed string, err error) {
	if err := l.id.Err(); err != nil { // nobody learns of revocations any more
		return "", tryAgain(ReasonNotRecipient, fmt.Errorf("sealed: %w", err))
	}
	if !envelope.IsEnvelope(m.Body) {
		return "", reject(ReasonUnsealed, errors.New("sealed: it is not sealed"))
	}
	e, err := envelope.Parse(m.Body)
	if err != nil {
		return "", err
	}
	r := l.rules.of(ev.topic)
	switch {
	case r == nil:
		return "", reject(ReasonTopic, ErrNoRule)
	case !r.mayRead:
		return "", reject(ReasonTopic, ErrNotSubscriber)
	}
	if r.requirePQ && !e.Suite.PQ() {
		return "", reject(ReasonSuite, errors.New("sealed: the topic requires a post-quantum suite"))
	}
	o, claimed, err := l.incoming.open(l, r, e, now, s.replay == nil)
	if err != nil {
		return claimed, err
	}
	ev.from = o
	if scope := o.reader.Header.Scope; !matches(scope, ev.topic) {
		return claimed, reject(ReasonTopic, fmt.Errorf("sealed: an epoch for %s", keys.Quote(scope)))
	}
	if err := r.takes(o.reader.Header); err != nil {
		return claimed, err
	}
	plain, err := o.reader.Open(room(ev.inner, e), e, ev.topic, m.Header, o.verifier())
	if err != nil {
		return claimed, err
	}
	if ev.message.Header, ev.routed, err = join(ev.topic, e, &plain, m.Header); err != nil {
		return claimed, err
	}
	ev.message.Body = plain.Body
	if err := routed(l, o, ev); err != nil {
		return claimed, err
	}
	if err := s.fresh(l, o, plain.Time, now); err != nil {
		return claimed, err
	}
	ev.counter = e.Counter
	return claimed, s.begin(l, o, ev, now)
}

// owner is an inner event, such as those of broker/nats, that says whether the body of its
// message is the handler's, to be written over. Those of memory are everybody's.
type owner interface{ OwnsBody() bool }

// room returns where a message is opened to: some memory also for an empty one, which
// inflight knows it by.
func room(inner broker.Event, e *envelope.Envelope) []byte {
	if own, ok := inner.(owner); ok && own.OwnsBody() {
		return e.Room()
	}
	return make([]byte, 0, e.PlainSize()+1)
}

// routed refuses a message whose Micro-Topic header, by which go-micro's server chooses
// the handler, leads to a topic that its sender may not publish on. (They differ where
// the publisher used client.WithExchange.)
func routed(l *live, o *opened, ev *event) error {
	if ev.routed == ev.topic {
		return nil
	}
	r := l.rules.of(ev.routed)
	if r == nil || !r.mayRead || !r.allows(o.from, o.peer.ID) {
		return reject(ReasonTopic, fmt.Errorf("sealed: its %s header is %s, where its sender may not publish", headers.Message, keys.Quote(ev.routed)))
	}
	return r.takes(o.reader.Header)
}

// takes refuses an epoch that is made otherwise than a rule has it.
func (r *rule) takes(h *envelope.Header) error {
	switch {
	case r.signatures && h.Mode != envelope.Signed:
		return reject(ReasonSuite, errors.New("sealed: it is not signed, and its rule has Signatures"))
	case r.requirePQ && !h.Suite.PQ():
		return reject(ReasonSuite, errors.New("sealed: the topic requires a post-quantum suite"))
	}
	return nil
}

// fresh checks when the message was sealed.
func (s *subscription) fresh(l *live, o *opened, sealed, now time.Time) error {
	h, age := o.reader.Header, now.Sub(sealed)
	switch {
	case sealed.Before(o.begins) || sealed.After(o.ends):
		return reject(ReasonExpired, fmt.Errorf("sealed: of %s, in an epoch from %s to %s", stamp(sealed), stamp(h.Created), stamp(h.NotAfter)))
	case age < -clockSkew:
		return reject(ReasonExpired, fmt.Errorf("sealed: of %s, now is %s: check the clocks", stamp(sealed), stamp(now)))
	case s.replay != nil && age > l.maxAge:
		return reject(ReasonExpired, fmt.Errorf("sealed: of %s: older than %v", stamp(sealed), l.maxAge))
	}
	return nil
}

// refuse reports a message that is not delivered, and settles it with the broker.
func (s *subscription) refuse(l *live, ev *event, claimed string, err error) error {
	reason, again := judge(err)
	if reason == ReasonNotRecipient && s.queue != "" {
		again = true // another member may have the key
	}
	s.broker.counts.refused(reason)
	s.broker.report.rejection(l.onReject, Rejection{
		Topic: ev.topic, Claimed: claimed, Peer: ev.sender(), Reason: reason, Err: err, Again: again,
	})
	if again {
		return errRefused
	}
	if t, ok := ev.inner.(interface{ Term() error }); ok {
		err = t.Term()
	} else if !s.autoAck {
		err = ev.inner.Ack()
	} else {
		return nil
	}
	if err != nil {
		s.broker.report.warnf("sealed: settle a message on %s: %v", keys.Quote(ev.topic), err)
	}
	return nil
}
