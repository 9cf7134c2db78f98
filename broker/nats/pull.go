package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

const (
	maxBatch = 256
	// pullExpires is how long a request for messages waits at the server, and
	// pullHeartbeat how often the server says that it still has it.
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
	// overhead is what a message has beside headers and body, at most.
	overhead = 8 << 10
)

// consumer takes messages from a JetStream consumer, on one connection.
//
// It asks for messages itself, and not through package jetstream: that takes a message
// without a body and with a header "Status" for an answer of the server's, so that
// anybody who may publish could end a subscription. Here what comes to our own inbox
// under its own name is an answer, and all else, which the server has sent on from the
// stream, is a message.
type consumer struct {
	sub     *subscription
	link    *link
	inbox   string
	nats    *natsgo.Subscription
	ackWait time.Duration
	batch   int

	msgs   chan *natsgo.Msg  // from the connection to pump
	work   chan *streamEvent // from pump to the handler; it has room for all there are
	nudge  chan struct{}     // the handler has finished one
	stop   chan struct{}     // closed by interrupt
	drop   chan struct{}     // closed by abandon: give back what the handler does not have yet
	done   chan struct{}     // closed when the handler will not be called again
	once   sync.Once
	dropIt sync.Once

	mu     sync.Mutex
	flying map[*streamEvent]struct{} // received, and the handler has not returned
}

func (s *subscription) pull(l *link, ackWait time.Duration) (*consumer, error) {
	batch := max(min(maxBatch, l.settings.stream.maxAckPending, l.settings.limits.messages/2), 1)
	c := &consumer{
		sub: s, link: l, inbox: l.nc.NewInbox(), ackWait: ackWait, batch: batch,
		// Answers and what is sent twice because a request was thought lost.
		msgs:  make(chan *natsgo.Msg, 3*batch+64),
		work:  make(chan *streamEvent, 6*batch+64),
		nudge: make(chan struct{}, 1), stop: make(chan struct{}), drop: make(chan struct{}), done: make(chan struct{}),
		flying: map[*streamEvent]struct{}{},
	}
	v := violation{subject: c.inbox}
	defer l.expect(v)()
	before := l.nc.LastError()
	var err error
	if c.nats, err = l.nc.ChanSubscribe(c.inbox, c.msgs); err != nil {
		return nil, l.explain(err, nil)
	}
	if err := l.confirm(v, before); err != nil {
		_ = c.nats.Unsubscribe()
		return nil, err
	}
	status := l.nc.StatusChanged(natsgo.CONNECTED)
	go c.pump(status)
	go c.run()
	return c, nil
}

// pump asks for messages and keeps those that came alive.
func (c *consumer) pump(status chan natsgo.Status) {
	defer close(c.work)
	defer c.link.nc.RemoveStatusListener(status)
	beat := time.NewTicker(max(c.ackWait/3, 20*time.Millisecond))
	defer beat.Stop()
	silence := time.NewTimer(2 * pullHeartbeat)
	defer silence.Stop()
	retry := time.NewTimer(0) // of asking, after trouble
	retry.Stop()
	defer retry.Stop()
	p := puller{c: c}
	recovered := make(chan error, 1)
	recovering := false
	lost := func(err error) {
		c.trouble(err)
		if !recovering {
			recovering = true
			go func() { recovered <- c.recover() }()
		}
	}
	p.ask()
	for {
		select {
		case m := <-c.msgs:
			silence.Reset(2 * pullHeartbeat)
			if m.Subject != c.inbox {
				p.arrived()
				c.accept(m)
				continue
			}
			switch answer := p.answered(m); answer {
			case goOn:
				if !recovering {
					p.ask()
				}
			case later:
				retry.Reset(p.delay.next())
			case gone:
				lost(fmt.Errorf("nats: consumer %q: %s", c.sub.place.name, m.Header.Get("Description")))
			}
		case <-c.nudge:
			p.delay = backoff{}
			if !recovering {
				p.ask()
			}
		case <-retry.C:
			if !recovering {
				p.ask()
			}
		case err := <-recovered:
			if recovering = false; err != nil {
				c.trouble(err)
				p.requested = 0
				retry.Reset(p.delay.next())
				continue
			}
			p.requested = 0
			p.ask()
		case <-status: // connected again: the server has forgotten our requests
			p.requested = 0
			if !recovering {
				p.ask()
			}
		case <-silence.C:
			silence.Reset(2 * pullHeartbeat)
			switch {
			case !c.link.nc.IsConnected() || recovering:
			case p.requested > 0:
				p.requested = 0
				lost(fmt.Errorf("nats: consumer %q: the server is silent about it", c.sub.place.name))
			default:
				p.ask()
			}
		case <-beat.C:
			c.alive()
		case <-c.stop:
			c.finish()
			return
		case <-c.link.closed:
			c.once.Do(func() { close(c.stop) })
			c.finish()
			return
		}
	}
}

// finish takes what the server had sent already.
func (c *consumer) finish() {
	_ = c.nats.Drain()
	if c.link.nc.IsConnected() {
		_ = c.link.nc.FlushTimeout(sendTimeout)
	}
	for {
		select {
		case m := <-c.msgs:
			if m.Subject != c.inbox {
				c.accept(m)
			}
		default:
			_ = c.nats.Unsubscribe()
			// What waits for the handler must stay ours until it has come to it.
			go c.keepAlive()
			return
		}
	}
}

func (c *consumer) keepAlive() {
	beat := time.NewTicker(max(c.ackWait/3, 20*time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			c.alive()
		case <-c.done:
			return
		case <-c.link.closed:
			return
		}
	}
}

func (c *consumer) alive() {
	c.mu.Lock()
	events := make([]*streamEvent, 0, len(c.flying))
	for e := range c.flying {
		events = append(events, e)
	}
	c.mu.Unlock()
	for _, e := range events {
		e.alive()
	}
}

// accept takes a message of the stream.
func (c *consumer) accept(m *natsgo.Msg) {
	e := &streamEvent{event: event{topic: m.Subject, message: broker.Message{Body: m.Data}}, c: c, msg: m}
	if e.message.Header, e.err = unpack(m); e.err != nil {
		e.message.Header = map[string]string{}
		_ = e.Term() // another delivery would be the same
		c.sub.b.report.refuse(&e.event, c.sub.opts.Queue)
		c.wake()
		return
	}
	c.mu.Lock()
	c.flying[e] = struct{}{}
	c.mu.Unlock()
	select {
	case c.work <- e:
	default: // more than was asked for
		c.landed(e)
		_ = e.Nak()
	}
}

// landed forgets a message that the handler has returned from.
func (c *consumer) landed(e *streamEvent) {
	c.mu.Lock()
	delete(c.flying, e)
	c.mu.Unlock()
}

func (c *consumer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flying)
}

func (c *consumer) wake() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// run calls the handler with one message after the other.
func (c *consumer) run() {
	defer close(c.done)
	for e := range c.work {
		select {
		case <-c.drop:
			c.landed(e)
			_ = e.answer([]byte("-NAK")) // for somebody else, and at once
		default:
			c.handle(e)
		}
		c.wake()
	}
}

func (c *consumer) handle(e *streamEvent) {
	err := invoke(c.sub.handler, e)
	c.landed(e)
	switch {
	case err == nil && c.sub.opts.AutoAck:
		_ = e.Ack()
	case err == nil:
		if !e.settled.Load() {
			c.note(e, true)
		}
	case permanent(err):
		_ = e.Term()
	default:
		_ = e.Nak()
	}
	if err != nil {
		e.err = err
		c.sub.b.report.fail(e, c.sub.opts.Queue)
	}
}

func (c *consumer) trouble(err error) {
	if !c.link.over() {
		c.sub.b.report.incident(Incident{Kind: Trouble, Topic: c.sub.topic, Queue: c.sub.opts.Queue, Err: err})
	}
}

// recover looks whether the consumer is there, and makes it again where it is not.
func (c *consumer) recover() error {
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	go func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := c.sub.ensure(ctx, c.link)
	return err
}

func (c *consumer) interrupt() { c.once.Do(func() { close(c.stop) }) }

func (c *consumer) drained(until time.Time) error {
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	select {
	case <-c.done:
		c.dispose()
		return nil
	case <-end.C:
	}
	n := c.waiting()
	c.abandon()
	return fmt.Errorf("nats: %w: topic %q: %d messages were not handled, and will be delivered again: make the handler faster, or set nats.DrainTimeout", ErrDrain, c.sub.topic, n)
}

func (c *consumer) abandon() {
	c.dropIt.Do(func() { close(c.drop) })
	c.interrupt()
}

// puller counts what was asked for.
type puller struct {
	c         *consumer
	requested int // messages that the server still owes us
	delay     backoff
}

// next is what to do after an answer.
type next int

const (
	goOn next = iota
	later
	gone
)

// ask requests messages if half of the batch is free.
func (p *puller) ask() {
	c := p.c
	free := c.batch - p.requested - c.waiting()
	if free < (c.batch+1)/2 || !c.link.nc.IsConnected() {
		return
	}
	request, err := json.Marshal(struct {
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{free, max(c.link.settings.limits.bytes/2, int(c.link.nc.MaxPayload())+overhead), pullExpires, pullHeartbeat})
	if err != nil {
		return // numbers always can
	}
	subject := "$JS.API.CONSUMER.MSG.NEXT." + c.link.settings.stream.name + "." + c.sub.place.name
	if c.link.nc.PublishRequest(subject, c.inbox, request) == nil {
		p.requested += free
	}
}

func (p *puller) arrived() { p.requested = max(p.requested-1, 0) }

// answered reads an answer of the server's about requests.
func (p *puller) answered(m *natsgo.Msg) next {
	text := strings.ToLower(m.Header.Get("Description"))
	status := m.Header.Get("Status")
	if status == "100" {
		return goOn
	}
	left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	if err != nil || left < 0 {
		left = p.requested
	}
	p.requested = max(p.requested-left, 0)
	switch {
	case status == "408", status == "409" && strings.Contains(text, "maxbytes"):
		return goOn
	case status == "503", strings.Contains(text, "consumer deleted"), strings.Contains(text, "consumer not found"):
		p.requested = 0
		return gone
	}
	return later
}
