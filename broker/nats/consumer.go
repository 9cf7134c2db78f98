package nats

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/keys"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

// instanceKept is how long a consumer of one subscription stays when nobody uses it.
const instanceKept = 5 * time.Minute

// place is where a subscription is in its stream. It outlives connections.
type place struct {
	name     string // of the consumer
	instance bool   // the consumer is of this subscription only

	mu     sync.Mutex
	placed bool            // there was a consumer
	floor  uint64          // up to here all is done, but for failed
	last   *natsgo.Msg     // the last that was done; nil after it went into floor
	failed map[uint64]bool // below what was done, and to be delivered again
}

// newPlace decides which consumer a subscription has.
func newPlace(topic string, o *broker.SubscribeOptions) (*place, error) {
	if name, given := option[string](o.Context, durableKey{}); given {
		if !jetStreamName.MatchString(name) {
			return nil, invalidf("nats.Durable(%s): want at most 128 letters, digits, - and _", keys.Quote(name))
		}
		return &place{name: name}, nil
	}
	if o.Queue == "" {
		return &place{name: "signet-" + rand.Text(), instance: true}, nil
	}
	digest := sha256.Sum256([]byte(o.Queue + "\x00" + topic))
	readable := strings.Map(func(r rune) rune {
		if r < 0x80 && jetStreamName.MatchString(string(r)) {
			return r
		}
		return '_'
	}, o.Queue)
	return &place{name: readable[:min(len(readable), 32)] + "-" + hex.EncodeToString(digest[:8])}, nil
}

// note keeps the place when a message was answered.
func (c *consumer) note(e *streamEvent, again bool) {
	p := c.sub.place
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case again:
		if n := sequence(e.msg); n > 0 {
			if p.failed == nil {
				p.failed = map[uint64]bool{}
			}
			p.failed[n] = true
			p.trim(c.link.settings.stream.maxAckPending)
		}
	case len(p.failed) > 0:
		delete(p.failed, sequence(e.msg))
	}
	p.last = e.msg
}

// trim forgets the oldest of what has failed: of a queue, others may have handled it, and
// nobody says so. p.mu is held.
func (p *place) trim(most int) {
	if len(p.failed) <= 2*most {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(p.failed))[:len(p.failed)-most] {
		delete(p.failed, n)
	}
}

// next is the first position that a new consumer must deliver.
func (p *place) next() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.floor = max(p.floor, sequence(p.last))
		p.last = nil
	}
	first := p.floor + 1
	for n := range p.failed {
		first = min(first, n)
	}
	return first
}

// reached reports whether there was a consumer before, whose place a new one takes.
func (p *place) reached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.placed
}

// ensure finds the consumer, or makes it, and returns its AckWait. One that is there is
// used as it is.
func (s *subscription) ensure(ctx context.Context, l *link) (time.Duration, error) {
	conf, p := l.settings.stream, s.place
	found, err := l.js.Consumer(ctx, conf.name, p.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if err := l.checkTopic(ctx, s.topic); err != nil {
			return 0, err
		}
		found, err = l.js.CreateConsumer(ctx, conf.name, s.consumerConfig(conf))
		if errors.Is(err, jetstream.ErrConsumerExists) { // another of the queue was first
			found, err = l.js.Consumer(ctx, conf.name, p.name)
		}
	}
	if err != nil {
		return 0, l.explainConsumer(s, err)
	}
	info := found.CachedInfo()
	c := &info.Config
	switch {
	case c.AckPolicy != jetstream.AckExplicitPolicy || c.DeliverSubject != "":
		return 0, fmt.Errorf("nats: %w: consumer %q is not one that is pulled and acknowledges each message: remove it, or choose another nats.Durable", ErrStream, p.name)
	case c.FilterSubject != s.topic:
		return 0, fmt.Errorf("nats: %w: consumer %q is of topic %s, not of %s: choose another nats.Durable", ErrStream, p.name, keys.Quote(c.FilterSubject), keys.Quote(s.topic))
	}
	p.mu.Lock()
	p.placed, p.floor = true, max(p.floor, info.AckFloor.Stream)
	maps.DeleteFunc(p.failed, func(n uint64, _ bool) bool { return n <= info.AckFloor.Stream })
	p.mu.Unlock()
	if c.AckWait <= 0 {
		return DefaultAckWait, nil
	}
	return c.AckWait, nil
}

func (s *subscription) consumerConfig(conf *streamSettings) jetstream.ConsumerConfig {
	p := s.place
	c := jetstream.ConsumerConfig{
		Durable:       p.name,
		Description:   "go-micro subscription, by signet",
		FilterSubject: s.topic,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       conf.ackWait,
		MaxAckPending: conf.maxAckPending,
		MaxDeliver:    conf.maxDeliver,
		DeliverPolicy: jetstream.DeliverNewPolicy,
	}
	if p.instance {
		// Unlike an ephemeral consumer a durable one has as many replicas as the
		// stream, and survives a server.
		c.InactiveThreshold = instanceKept
	}
	switch history, _ := option[bool](s.opts.Context, historyKey{}); {
	case p.reached():
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, p.next()
	case history:
		c.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return c
}

func (l *link) explainConsumer(s *subscription, err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, context.DeadlineExceeded) {
		return l.settings.stream.explain(err)
	}
	return fmt.Errorf("nats: %w: subscribe to %q: consumer %q: %w", ErrStream, s.topic, s.place.name, err)
}

// consume begins to take messages from the stream.
func (s *subscription) consume(l *link) (bound, error) {
	if s.place == nil {
		p, err := newPlace(s.topic, &s.opts)
		if err != nil {
			return nil, err
		}
		s.place = p
	}
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	ackWait, err := s.ensure(ctx, l)
	if err != nil {
		return nil, err
	}
	return s.pull(l, ackWait)
}

// dispose deletes the consumer of a subscription that has ended, where it is of no use to
// others.
func (c *consumer) dispose() {
	c.sub.mu.Lock()
	ended := c.sub.ended
	c.sub.mu.Unlock()
	if !ended || !c.sub.place.instance || !c.link.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	// It goes away by itself if this fails.
	_ = c.link.js.DeleteConsumer(ctx, c.link.settings.stream.name, c.sub.place.name)
}
