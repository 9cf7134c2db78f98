package encrypted

import (
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// Defaults and limits.
const (
	// DefaultMaxAge is how old a request may be when it comes.
	DefaultMaxAge = 5 * time.Minute
	// DefaultEventAge is how old an event, or what a Marshaler has made, may be.
	DefaultEventAge = 24 * time.Hour
	// ClockSkew is how far ahead a sender's clock may be.
	ClockSkew = time.Minute

	// MaxEpochs is how many senders' epochs one side remembers; MaxSenderEpochs how
	// many of one sender.
	MaxEpochs       = 16384
	MaxSenderEpochs = 2048
	// MaxReplayMemory bounds what replay windows and the headers of epochs take, in
	// bytes, and MaxSenderReplayMemory what they take for one sender. Beside it an epoch
	// takes about 7 KB, for ciphers and certificates.
	MaxReplayMemory       = 64 << 20
	MaxSenderReplayMemory = 16 << 20
)

// Option changes what a codec does. The same options may be given to clients and to
// servers.
type Option func(*options)

type options struct {
	maxAge, eventAge time.Duration
	authorize        func(identity.Peer, string) error
	services         map[string][]string
	subscribers      map[string][]string
	registry         registry.Registry
	brokerSeals      bool
	omitCard         bool
	postQuantum      bool
	requirePQ        bool
	onReject         func(Rejection)
	logger           logger.Logger
}

// Authorize asks f about each request, event and message, once its sender is proved: a
// nil error lets it in. target is the endpoint of a request, as in "Greeter.Hello",
// the topic of an event, and "" for a Marshaler. f must be safe for concurrent use and
// quick. A panic counts as a refusal. Without it every verified member of a trust
// domain that the identity knows may call.
func Authorize(f func(peer identity.Peer, target string) error) Option {
	return func(o *options) { o.authorize = f }
}

// MaxAge sets how old a request may be when it comes; the default is DefaultMaxAge, and
// the longest 24 hours. What was handled is remembered for as long.
func MaxAge(d time.Duration) Option { return func(o *options) { o.maxAge = d } }

// EventAge sets how old an event, or what a Marshaler has made, may be; the default is
// DefaultEventAge. The identity's box keys must be kept as long: see
// identity.BoxKeyGrace.
func EventAge(d time.Duration) Option { return func(o *options) { o.eventAge = d } }

// Service says which peers are the service that clients call by a name, by their
// SPIFFE IDs. Without it they are the peers with that name in our own trust domain, or
// with that SPIFFE ID if the name is one.
func Service(name string, ids ...string) Option {
	return func(o *options) { put(&o.services, name, ids) }
}

// Subscribers says which services can read the events of a topic, by their names.
// Without it that is the service whose name is the topic.
func Subscribers(topic string, services ...string) Option {
	return func(o *options) { put(&o.subscribers, topic, services) }
}

func put(m *map[string][]string, name string, values []string) {
	if *m == nil {
		*m = make(map[string][]string)
	}
	(*m)[name] = append([]string(nil), values...)
}

// Registry is asked for a service whose keys are not known. Give it a signed registry
// with the same identity, which enters what it finds in the peer directory. A client
// whose selector has that registry does not need it, unless calls are made by
// client.WithAddress.
func Registry(r registry.Registry) Option { return func(o *options) { o.registry = r } }

// BrokerSeals leaves events to the broker: the codec encodes them and does not seal
// them, and the server hands subscribers what comes in clear. It is meant for
// broker/sealed with its SubscriberWrapper, which refuses what was not sealed.
//
// WARNING: with any other broker, events can be read and forged.
func BrokerSeals() Option { return func(o *options) { o.brokerSeals = true } }

// OmitCard leaves our card out of requests that would bring it, which makes them about 660
// bytes smaller. It is for fleets in which each service finds the keys of its callers in
// its peer directory: callers that are registered themselves, in a registry/signed that
// the service looks them up in, or whose cards it was given.
func OmitCard() Option { return func(o *options) { o.omitCard = true } }

// PostQuantum seals with a hybrid of X25519 and ML-KEM-768 (see spec/envelope.md), so
// that who records calls today cannot read them with a quantum computer later. Nodes of
// which no post-quantum key is known cannot open them: use it once all of them state one,
// by signed.PostQuantum or on cards. A request that brings its keys grows by 1.1 KiB for each
// key of the service; later calls and answers do not. The caller is proved as in the other suites.
func PostQuantum() Option { return func(o *options) { o.postQuantum = true } }

// RequirePostQuantum is PostQuantum, and refuses what is sealed otherwise.
func RequirePostQuantum() Option {
	return func(o *options) { o.postQuantum, o.requirePQ = true, true }
}

// OnReject calls f for everything that is not accepted, without a lock held, in the
// goroutine that met it. It must be safe for concurrent use. Rejections are logged
// besides, a limited number of them.
func OnReject(f func(Rejection)) Option { return func(o *options) { o.onReject = f } }

// Logger sets where rejections are logged; the default is go-micro's logger.
func Logger(l logger.Logger) Option { return func(o *options) { o.logger = l } }

func newOptions(opts []Option) options {
	o := options{maxAge: DefaultMaxAge, eventAge: DefaultEventAge}
	for _, set := range opts {
		set(&o)
	}
	if o.maxAge <= 0 {
		o.maxAge = DefaultMaxAge
	}
	o.maxAge = min(o.maxAge, longestEpoch)
	if o.eventAge <= 0 {
		o.eventAge = DefaultEventAge
	}
	if o.logger == nil {
		o.logger = logger.DefaultLogger
	}
	return o
}
