package sealed

import (
	"context"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/store"
)

type (
	wrapKey      struct{}
	identityKey  struct{}
	topicsKey    struct{}
	onRejectKey  struct{}
	onMissingKey struct{}
	maxAgeKey    struct{}
	rotateKey    struct{}
	omitCardKey  struct{}
	storeKey     struct{}
	historyKey   struct{}
)

// Defaults of MaxAge and RotateEvery.
const (
	DefaultMaxAge      = 24 * time.Hour
	DefaultRotateEvery = time.Hour
)

// Bounds of MaxAge and RotateEvery.
const (
	leastMaxAge, mostMaxAge = time.Minute, 31 * 24 * time.Hour
	leastRotate, mostRotate = time.Minute, 24 * time.Hour
)

// Wrap names the broker that carries the sealed messages. The default is what
// broker.DefaultBroker was when NewBroker was called. Give each sealed broker an inner one
// of its own: Init, Connect and Disconnect go on to it, and go-micro's server disconnects
// its broker when it stops.
func Wrap(inner broker.Broker) broker.Option { return setOption(wrapKey{}, wrapped{inner}) }

// wrapped tells Wrap(nil) from no Wrap.
type wrapped struct{ broker.Broker }

// Identity seals, opens, and has the peer directory in which recipients' keys are. The
// broker does not close it. The default is the identity that $SIGNET_IDENTITY names.
func Identity(id *identity.Identity) broker.Option { return setOption(identityKey{}, id) }

// Topic says who may publish on a topic and who can read it:
//
//	sealed.Topic("orders.*", sealed.Publishers("shop"), sealed.Subscribers("billing", "shipping"))
//
// The pattern is a topic, of at most 512 bytes, or has wildcards between dots as NATS
// has them: "*" for one segment, ">" at the end for one or more. Of several patterns
// that match a topic the narrowest counts, alone: at the first segment in which they
// differ, a name is narrower than "*", and "*" than ">". A second rule for a pattern
// replaces the first. Rules may be added later, with Init.
func Topic(pattern string, rules ...TopicRule) broker.Option {
	given := topicRule{pattern: pattern}
	for _, r := range rules {
		r(&given)
	}
	return func(o *broker.Options) {
		was, _ := option[[]topicRule](o.Context, topicsKey{})
		setOption(topicsKey{}, append(was[:len(was):len(was)], given))(o)
	}
}

// OnReject calls f for each message that was not delivered. f runs without a lock held,
// in the goroutine of the delivery, and must be safe for concurrent use. Rejections are
// logged besides, a limited number of them.
func OnReject(f func(Rejection)) broker.Option { return setOption(onRejectKey{}, f) }

// OnMissing calls f when it has changed which subscribers of a rule have no box key that
// is known, so that they cannot read what is published: with their SPIFFE IDs, or none.
// The others are served. It is logged besides. f runs without a lock held, in a
// goroutine that publishes, and must be safe for concurrent use.
func OnMissing(f func(pattern string, subscribers []string)) broker.Option {
	return setOption(onMissingKey{}, f)
}

// MaxAge sets how old a message may be, between a minute and 31 days, and so how long
// it is remembered that a message was handled. The default is DefaultMaxAge. A message
// is judged by the certificate that its sender had when it was sent. Set the grace of
// box keys (identity.BoxKeyGrace) no shorter.
func MaxAge(d time.Duration) broker.Option { return setOption(maxAgeKey{}, d) }

// RotateEvery sets how long an epoch lasts, between a minute and 24 hours: how much who
// breaks one epoch key can read. The default is DefaultRotateEvery.
func RotateEvery(d time.Duration) broker.Option { return setOption(rotateKey{}, d) }

// OmitCard leaves our card out of what we publish, which saves about 900 bytes a
// message. Receivers then have to know our box key before the first message: by the
// signed registry, in which this service is registered, or by Identity.AddCard. Rules with
// Signatures bring it nevertheless.
func OmitCard() broker.Option { return setOption(omitCardKey{}, true) }

// ReplayStore shares between the members of queue groups which messages were handled,
// so that a broker which hands a message to one member cannot later hand it to another.
// (It still can at the same moment: a store.Store has no compare-and-swap.) Each message
// of a subscription with a queue then costs a read and a write; a store that fails
// refuses the message, to be delivered again.
func ReplayStore(s store.Store) broker.Option { return setOption(storeKey{}, sharedStore{s}) }

type sharedStore struct{ store.Store }

// History makes a subscription to a durable stream that may deliver messages again, of
// any age: it has no replay state and no MaxAge. Handlers have to stand a message that
// comes twice. Give it after broker.SubscribeContext.
func History() broker.SubscribeOption {
	return func(o *broker.SubscribeOptions) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, historyKey{}, true)
	}
}

func setOption(key, value any) broker.Option {
	return func(o *broker.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key, value)
	}
}

// option reads what setOption stored, and tells whether it was given.
func option[T any](ctx context.Context, key any) (v T, given bool) {
	if ctx == nil {
		return v, false
	}
	v, given = ctx.Value(key).(T)
	return v, given
}
