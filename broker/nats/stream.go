package nats

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

type (
	streamKey    struct{}
	durableKey   struct{}
	historyKey   struct{}
	messageIDKey struct{}
)

// Defaults of StreamOptions.
const (
	DefaultAckWait        = 30 * time.Second
	DefaultMaxAckPending  = 256
	DefaultPublishTimeout = 5 * time.Second
	DefaultRetryDelay     = time.Second
	DefaultMaxRetryDelay  = time.Minute
)

// JetStream puts all topics of the broker into one stream, which NATS stores. Publish
// returns once the stream has the message, and a subscription has each message until its
// handler has returned nil. The stream must be there, and have the topics among its
// subjects, or CreateStream says how to make it.
func JetStream(stream string, opts ...StreamOption) broker.Option {
	return setOption(streamKey{}, streamOptions{stream, append([]StreamOption(nil), opts...)})
}

type streamOptions struct {
	name string
	opts []StreamOption
}

// StreamOption changes how JetStream is used.
type StreamOption func(*streamSettings)

// streamSettings is the checked form of JetStream.
type streamSettings struct {
	name          string
	create        *jetstream.StreamConfig
	ackWait       time.Duration
	maxAckPending int
	maxDeliver    int
	timeout       time.Duration
	retry, most   time.Duration
}

// CreateStream makes the stream if there is none of that name. One that is there is used
// as it is. The configuration's name may be left out.
func CreateStream(conf jetstream.StreamConfig) StreamOption {
	return func(s *streamSettings) { s.create = &conf }
}

// AckWait is how long NATS waits for a sign of life about a message that it has delivered
// before it delivers it again. Messages that wait for the handler, or are with it, are
// reported alive three times in that time; so it bounds how long a crash delays them, and
// not how long a handler may take. It counts for consumers that this broker makes.
func AckWait(d time.Duration) StreamOption { return func(s *streamSettings) { s.ackWait = d } }

// MaxAckPending is how many messages of one consumer may be delivered and not yet
// acknowledged, over all of a queue's members. It counts for consumers that this broker
// makes.
func MaxAckPending(n int) StreamOption { return func(s *streamSettings) { s.maxAckPending = n } }

// MaxDeliver is how often a message is delivered before NATS gives it up; the default is
// without end. It counts for consumers that this broker makes.
func MaxDeliver(n int) StreamOption { return func(s *streamSettings) { s.maxDeliver = n } }

// RetryDelay is after which time a message is delivered again when its handler has failed.
// It doubles from first to most, with jitter.
func RetryDelay(first, most time.Duration) StreamOption {
	return func(s *streamSettings) { s.retry, s.most = first, most }
}

// PublishTimeout is how long Publish tries to have a message stored, where its context has
// no deadline. Keep it well below the stream's duplicate window (2 minutes by default),
// within which a second try is recognised.
func PublishTimeout(d time.Duration) StreamOption { return func(s *streamSettings) { s.timeout = d } }

// Durable names the JetStream consumer of a subscription, which is where its position in
// the stream is kept. All subscriptions with one name share the messages, so they must
// have the same topic.
//
// Without it a subscription with a broker.Queue has a durable consumer, named after the
// queue and the topic, and one without a queue has a consumer of its own, which ends with
// Unsubscribe or when it was not used for five minutes.
func Durable(name string) broker.SubscribeOption { return setSubscribeOption(durableKey{}, name) }

// History lets a new consumer begin with what the stream has already, and not with what
// is published from now on. One that exists goes on where it was.
func History() broker.SubscribeOption { return setSubscribeOption(historyKey{}, true) }

// maxMessageID bounds MessageID, in bytes.
const maxMessageID = 256

// MessageID is the ID by which a stream knows a message that is published again: within
// its duplicate window (2 minutes by default) it keeps the first message of an ID, and
// drops others while Publish returns nil. At most 256 bytes. Without it a sealed message
// has an ID of its content, and another one of its own for each Publish. It is an option,
// and no header, as go-micro copies headers from calls into what their handlers publish.
// Give it after broker.PublishContext.
func MessageID(id string) broker.PublishOption {
	return func(o *broker.PublishOptions) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, messageIDKey{}, id)
	}
}

func setSubscribeOption(key, value any) broker.SubscribeOption {
	return func(o *broker.SubscribeOptions) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key, value)
	}
}

// jetStreamName is what NATS takes as the name of a stream or consumer, and a bit less.
var jetStreamName = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,128}$`)

// streamOf takes JetStream from the options; nil without it.
func streamOf(o *broker.Options) (*streamSettings, error) {
	given, ok := option[streamOptions](o.Context, streamKey{})
	if !ok {
		return nil, nil
	}
	s := &streamSettings{
		name: given.name, ackWait: DefaultAckWait, maxAckPending: DefaultMaxAckPending, maxDeliver: -1,
		timeout: DefaultPublishTimeout, retry: DefaultRetryDelay, most: DefaultMaxRetryDelay,
	}
	for _, f := range given.opts {
		f(s)
	}
	switch {
	case !jetStreamName.MatchString(s.name):
		return nil, invalidf("nats.JetStream(%s): want a name of at most 128 letters, digits, - and _", keys.Quote(s.name))
	case s.create != nil && s.create.Name != "" && s.create.Name != s.name:
		return nil, invalidf("nats.CreateStream names the stream %s, and nats.JetStream %s", keys.Quote(s.create.Name), keys.Quote(s.name))
	case s.ackWait < 100*time.Millisecond:
		return nil, invalidf("nats.AckWait(%v): want at least 100ms", s.ackWait)
	case s.maxAckPending < 1:
		return nil, invalidf("nats.MaxAckPending(%d): want at least 1", s.maxAckPending)
	case s.maxDeliver == 0:
		return nil, invalidf("nats.MaxDeliver(0): want at least 1, or -1 for no end")
	case s.retry <= 0 || s.most < s.retry:
		return nil, invalidf("nats.RetryDelay(%v, %v): want positive times, the second no shorter", s.retry, s.most)
	case s.timeout <= 0:
		return nil, invalidf("nats.PublishTimeout(%v): want a positive time", s.timeout)
	}
	return s, nil
}

// openStream finds the stream, or makes it.
func (l *link) openStream() error {
	s := l.settings.stream
	js, err := jetstream.New(l.nc)
	if err != nil {
		return err
	}
	l.js = js
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	_, err = js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && s.create != nil {
		conf := *s.create
		conf.Name = s.name
		// Two that do this at the same time with the same configuration both succeed.
		_, err = js.CreateStream(ctx, conf)
	}
	return s.explain(err)
}

// explain says what to do about an error of JetStream's about the stream as a whole.
func (s *streamSettings) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("nats: %w: there is no stream %q: make it, or say how with nats.CreateStream: %w", ErrStream, s.name, err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("nats: %w: %w: enable JetStream in the server, and for the account", ErrStream, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nats: %w: no answer about stream %q: check that JetStream has a leader, and that the account may publish to $JS.API.> and subscribe to _INBOX.>: %w", ErrStream, s.name, err)
	}
	return fmt.Errorf("nats: %w: stream %q: %w", ErrStream, s.name, err)
}
