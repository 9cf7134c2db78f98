package nats

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// streamEvent is a message that a stream waits to hear about.
type streamEvent struct {
	event
	c       *consumer
	msg     *natsgo.Msg
	settled atomic.Bool // an answer was sent, and no other will be
}

var (
	ackBody   = []byte("+ACK")
	termBody  = []byte("+TERM")
	aliveBody = []byte("+WPI")
)

// Ack says that the message was handled. Only the first of Ack, Nak and Term counts.
func (e *streamEvent) Ack() error { return e.answer(ackBody) }

// Nak asks for the message to be delivered again, after a delay that grows.
func (e *streamEvent) Nak() error {
	return e.answer(fmt.Appendf(nil, `-NAK {"delay": %d}`, e.c.link.settings.stream.delay(e.delivered()).Nanoseconds()))
}

// Term says that the message shall not be delivered again, though it was not handled.
func (e *streamEvent) Term() error { return e.answer(termBody) }

func (e *streamEvent) answer(body []byte) error {
	if !e.settled.CompareAndSwap(false, true) {
		return nil
	}
	err := e.c.link.nc.Publish(e.msg.Reply, body)
	if err != nil {
		e.settled.Store(false)
		return e.c.link.explain(err, nil)
	}
	e.c.note(e, body[0] == '-')
	return nil
}

// alive tells NATS not to deliver the message to somebody else yet.
func (e *streamEvent) alive() {
	if !e.settled.Load() {
		_ = e.c.link.nc.Publish(e.msg.Reply, aliveBody)
	}
}

// delivered is how often the message was delivered, this time included.
func (e *streamEvent) delivered() uint64 {
	if meta, err := e.msg.Metadata(); err == nil {
		return meta.NumDelivered
	}
	return 1
}

// sequence is the message's position in the stream, 0 if it is not known.
func sequence(m *natsgo.Msg) uint64 {
	if meta, err := m.Metadata(); err == nil {
		return meta.Sequence.Stream
	}
	return 0
}

// delay is between half and all of what it should be, so that many do not come at once.
func (s *streamSettings) delay(delivered uint64) time.Duration {
	d := s.retry
	for range min(max(delivered, 1)-1, 32) {
		if d *= 2; d >= s.most {
			d = s.most
			break
		}
	}
	return d/2 + rand.N(d/2+1)
}

// permanent reports whether a handler's error says that another delivery is of no use.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}
