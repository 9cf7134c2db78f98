package sealed

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/broker"
)

// event is a message that was opened, as handlers get it.
type event struct {
	*subscription
	live    *live
	inner   broker.Event
	topic   string
	message broker.Message
	from    *opened // the epoch that it is of; nil as long as that is not known
	err     error

	state   *envelope.Replay // nil for History
	mark    *byte            // of the body, in inflight; nil if it is not there
	routed  string           // the topic by which go-micro's server chooses the subscriber
	counter uint32
	acked   atomic.Bool
}

// sender is who has published it, if that is known.
func (e *event) sender() identity.Peer {
	if e.from == nil {
		return identity.Peer{}
	}
	return e.from.peer
}

// Topic returns the topic that it was published on.
func (e *event) Topic() string { return e.topic }

// Message returns the opened message, which is the handler's own.
func (e *event) Message() *broker.Message { return &e.message }

// Error returns what the handler has returned, to an ErrorHandler.
func (e *event) Error() error { return e.err }

// Ack acknowledges the message to the broker, and from then on it counts as handled.
func (e *event) Ack() error {
	if err := e.inner.Ack(); err != nil {
		return err
	}
	if !e.acked.Swap(true) {
		e.handled()
	}
	return nil
}

// Sender returns who has published an event, in a handler. The answer is false for
// events that a broker of this package has not delivered. The peer's certificate is nil
// where the publisher has omitted its card and is known from a registry.
func Sender(e broker.Event) (identity.Peer, bool) {
	if ev, ok := e.(*event); ok {
		return ev.sender(), true
	}
	return identity.Peer{}, false
}

type senderKey struct{}

// SenderFromContext returns who has published, in a subscriber of a go-micro server that
// has SubscriberWrapper.
func SenderFromContext(ctx context.Context) (identity.Peer, bool) {
	peer, ok := ctx.Value(senderKey{}).(identity.Peer)
	return peer, ok
}

// deliver calls the handler. If it panics, the message may come again.
func (s *subscription) deliver(ev *event) error {
	returned := false
	defer func() {
		s.broker.inflight.remove(ev)
		if !returned {
			ev.settle(errors.New("the handler panicked"))
		}
	}()
	s.broker.inflight.add(ev)
	err := s.handler(ev)
	returned = true
	ev.settle(err)
	if err == nil {
		s.broker.counts.delivered.Add(1)
		return nil
	}
	s.broker.counts.failed.Add(1)
	if s.broker.hasErrorHandler() {
		return &handlerError{err, ev}
	}
	return err
}

// settle notes what has become of the message.
func (e *event) settle(err error) {
	switch {
	case e.acked.Load() || e.state == nil:
	case err == nil && e.autoAck:
		e.handled()
	default:
		e.state.End(e.counter, false)
	}
}

// handled notes that it was handled, here and in the store that members of a queue
// group share.
func (e *event) handled() {
	if e.state != nil {
		e.state.Handled(e.counter)
		e.tellStore()
	}
}

// handlerError brings the opened event to the user's ErrorHandler, by way of the inner
// broker.
type handlerError struct {
	error
	event *event
}

func (h *handlerError) Unwrap() error { return h.error }

func (b *sealedBroker) hasErrorHandler() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opts.ErrorHandler != nil
}

// handleError is the inner broker's ErrorHandler. What was not opened, because the inner
// broker could not read it, is shown without content.
func (b *sealedBroker) handleError(inner broker.Event) error {
	b.mu.Lock()
	h := b.opts.ErrorHandler
	b.mu.Unlock()
	if h == nil {
		return nil
	}
	if opened, ok := inner.(*event); ok { // two of us around one broker
		return h(opened)
	}
	err := inner.Error()
	if failed, ok := errors.AsType[*handlerError](err); ok {
		failed.event.err = failed.error
		return h(failed.event)
	}
	if errors.Is(err, errRefused) {
		return nil // it was reported
	}
	return h(&unread{inner})
}

// unread is an event that was never opened.
type unread struct{ broker.Event }

func (u *unread) Message() *broker.Message {
	return &broker.Message{Header: make(map[string]string)}
}
