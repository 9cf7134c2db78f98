package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// confirmTimeout is how long Subscribe waits for the server, also for it to come back.
const confirmTimeout = 5 * time.Second

// subscription lives from Subscribe to Unsubscribe, and over connections.
type subscription struct {
	b       *natsBroker
	topic   string
	handler broker.Handler
	opts    broker.SubscribeOptions
	place   *place // in the stream; nil for core NATS

	binding sync.Mutex // serialises bind
	on      *link      // the last that it was bound to

	mu    sync.Mutex
	bound bound // to the link; nil without one
	ended bool
}

// bound is a subscription on one connection.
type bound interface {
	// interrupt makes no more messages come in.
	interrupt()
	// drained waits until what was received is handled, or until the time is up.
	drained(until time.Time) error
	// abandon ends it at once. It does not wait for the handler.
	abandon()
}

// Subscribe calls the handler with each message that is published to a topic, one after
// the other. The topic may have the wildcards of NATS. Of the subscriptions with one
// broker.Queue each message goes to one. Once Subscribe has returned, the server knows of
// the subscription: everything that anybody publishes afterwards comes. It returns an
// error if the server's permissions do not allow it, or if it does not answer in time.
//
// A handler's error is logged and given to the ErrorHandler. So is a panic, which does not
// end the process: the next message is handled. With JetStream either has the message
// delivered again later.
func (b *natsBroker) Subscribe(topic string, h broker.Handler, opts ...broker.SubscribeOption) (broker.Subscriber, error) {
	l, err := b.current()
	if err != nil {
		return nil, err
	}
	o := broker.SubscribeOptions{AutoAck: true, Context: context.Background()}
	for _, f := range opts {
		f(&o)
	}
	if err := checkPattern(topic, true); err != nil {
		return nil, err
	}
	if err := checkQueue(o.Queue); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, invalidf("the handler is nil")
	}
	s := &subscription{b: b, topic: topic, handler: h, opts: o}
	if err := s.bind(l); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.subs[s] = struct{}{}
	b.mu.Unlock()
	if now := b.link.Load(); now != nil && now != l {
		// The link was replaced before it could know of s.
		if err := s.bind(now); err != nil {
			_ = s.Unsubscribe()
			return nil, err
		}
	}
	return s, nil
}

// Options returns the options of Subscribe.
func (s *subscription) Options() broker.SubscribeOptions { return s.opts }

// Topic returns the topic of Subscribe.
func (s *subscription) Topic() string { return s.topic }

// Unsubscribe ends the subscription. It does not wait: what was received before is still
// handled, and Disconnect waits for that. It may be called again, and by the handler.
func (s *subscription) Unsubscribe() error {
	s.mu.Lock()
	was, ended := s.bound, s.ended
	s.bound, s.ended = nil, true
	s.mu.Unlock()
	if ended {
		return nil
	}
	s.b.mu.Lock()
	delete(s.b.subs, s)
	s.b.mu.Unlock()
	if was == nil {
		return nil
	}
	if l := s.b.link.Load(); l != nil {
		l.retire(was)
	} else {
		was.abandon()
	}
	return nil
}

// bind makes the subscription on a link, once. If it has ended nothing is made.
func (s *subscription) bind(l *link) error {
	s.binding.Lock()
	defer s.binding.Unlock()
	if s.on == l {
		return nil
	}
	if l.draining.Load() {
		return fmt.Errorf("nats: %w: Disconnect is under way", ErrNotConnected)
	}
	var made bound
	var err error
	if l.settings.stream != nil {
		made, err = s.consume(l)
	} else {
		made, err = s.listen(l)
	}
	if err != nil {
		return err
	}
	s.on = l
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		made.abandon()
		return nil
	}
	s.bound = made
	return nil
}

// unreported counts messages that were dropped and of which no report has been made.
func (s *subscription) unreported() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.bound.(*listener); ok {
		return c.lost(false)
	}
	return 0
}

// listener is a subscription of core NATS.
type listener struct {
	sub  *subscription
	link *link
	nats *natsgo.Subscription
	done chan struct{} // closed when the handler will not be called again

	mu      sync.Mutex
	counted uint64 // dropped messages that were reported
}

func (s *subscription) listen(l *link) (bound, error) {
	c := &listener{sub: s, link: l, done: make(chan struct{})}
	v := violation{subject: s.topic, queue: s.opts.Queue}
	defer l.expect(v)()
	before := l.nc.LastError()
	var err error
	// The queue "" is none.
	if c.nats, err = l.nc.QueueSubscribe(s.topic, s.opts.Queue, c.deliver); err != nil {
		return nil, l.explain(err, nil)
	}
	c.nats.SetClosedHandler(func(string) { close(c.done) })
	if err = c.nats.SetPendingLimits(l.settings.limits.messages, l.settings.limits.bytes); err == nil {
		l.add(c)
		err = l.confirm(v, before)
	}
	if err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// deliver is called by nats.go, with one message at a time.
func (c *listener) deliver(m *natsgo.Msg) {
	s := c.sub
	e := &event{topic: m.Subject, message: broker.Message{Body: m.Data}}
	if e.message.Header, e.err = unpack(m); e.err != nil {
		e.message.Header = map[string]string{}
		s.b.report.refuse(e, s.opts.Queue)
		return
	}
	if err := invoke(s.handler, e); err != nil {
		e.err = err
		s.b.report.fail(e, s.opts.Queue)
	}
}

func (c *listener) interrupt() {
	c.link.b.report.dropped.Add(c.lost(true))
	if c.link.nc.IsConnected() {
		_ = c.nats.Drain()
	}
}

// drained polls while the link is down, because nats.go would wait for it to come back.
func (c *listener) drained(until time.Time) error {
	defer c.link.remove(c)
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for c.nats.IsValid() && !c.nats.IsDraining() {
		if n, _, err := c.nats.Pending(); err != nil || n == 0 {
			_ = c.nats.Unsubscribe()
			break
		}
		c.interrupt()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-end.C:
			return c.late()
		}
	}
	select {
	case <-c.done:
		return nil
	case <-end.C:
		return c.late()
	}
}

func (c *listener) late() error {
	n, _, _ := c.nats.Pending()
	c.abandon()
	return fmt.Errorf("nats: %w: topic %q: %d messages were not handled: make the handler faster, or set nats.DrainTimeout", ErrDrain, c.sub.topic, max(n, 0))
}

func (c *listener) abandon() {
	c.link.b.report.dropped.Add(c.lost(true))
	_ = c.nats.Unsubscribe()
	c.link.remove(c)
}

// lost counts messages that were dropped since the last report.
func (c *listener) lost(report bool) uint64 {
	total, err := c.nats.Dropped()
	if err != nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := uint64(total) - c.counted
	if report {
		c.counted += n
	}
	return n
}
