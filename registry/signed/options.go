package signed

import (
	"context"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

type (
	wrapKey      struct{}
	identityKey  struct{}
	authorizeKey struct{}
	allowKey     struct{}
	onRejectKey  struct{}
	auditKey     struct{}
	validityKey  struct{}
	recreateKey  struct{}
	pqKey        struct{}
)

// Defaults of Validity: how long a record counts. A backend that overwrites what it
// holds gets a new record at half of that; one that must be told to forget first
// gets it less often.
const (
	DefaultValidity         = 10 * time.Minute
	DefaultRecreateValidity = time.Hour
)

// Wrap names the registry that carries the signed registrations. The default is the
// one that $SIGNET_REGISTRY names among go-micro's registries ("etcd", once its
// package is imported), or else what registry.DefaultRegistry was when NewRegistry
// was called.
func Wrap(inner registry.Registry) registry.Option { return setOption(wrapKey{}, wrapped{inner}) }

// wrapped tells Wrap(nil) from no Wrap.
type wrapped struct{ registry.Registry }

// Identity signs what this process registers, says whom to trust, and has the peer
// directory that is filled with what verified. The registry does not close it.
func Identity(id *identity.Identity) registry.Option { return setOption(identityKey{}, id) }

// Authorize asks f about every registration whose signer may already register the
// name: a nil error lets it in. s has the one node in question, and is f's to keep;
// its endpoints and metadata are there only if they verified. f runs when a record
// is new and again when trust changes, before its signature is checked. It must be
// safe for concurrent use, and must not look the same service up in this registry,
// which would ask it again. A panic counts as a refusal.
func Authorize(f func(peer identity.Peer, s *registry.Service) error) registry.Option {
	return setOption(authorizeKey{}, f)
}

// Allow lets members register a service name that is not their own, such as the
// "micro.http.broker" that go-micro's http broker registers in every process that
// uses it. A member is named as in Peer.Serves. Several Allow options add up.
func Allow(service string, members ...string) registry.Option {
	return func(o *registry.Options) {
		allowed := map[string][]string{}
		for name, was := range option[map[string][]string](o.Context, allowKey{}) {
			allowed[name] = was
		}
		allowed[service] = append(append([]string(nil), allowed[service]...), members...)
		setOption(allowKey{}, allowed)(o)
	}
}

// OnReject calls f for everything that a registry offered and that did not verify.
// What is offered again unchanged is reported once a minute at most. f runs without
// a lock held, in the goroutine that met the node, and must be safe for concurrent
// use. Rejections are logged besides, a limited number of them.
func OnReject(f func(Rejection)) registry.Option { return setOption(onRejectKey{}, f) }

// InsecureAudit lets the nodes of these services through although they do not
// verify, and reports them, to find out what strict mode would refuse while a fleet
// moves to signed registrations. No name means all services. Nodes over the limits
// are refused all the same, and the peer directory holds only what verified.
func InsecureAudit(services ...string) registry.Option {
	return setOption(auditKey{}, append([]string(nil), services...))
}

// Validity sets how long a record counts, between 10 seconds and 24 hours. It bounds
// how long a withdrawn or replaced registration can be shown to a client that has
// not seen the newer one. Take care when lowering it: a client that has seen a record
// remembers it until it ends, and then accepts an older one that lasts longer. The
// default is DefaultValidity, or
// DefaultRecreateValidity where Recreate is in force.
func Validity(d time.Duration) registry.Option { return setOption(validityKey{}, d) }

// Recreate says that the inner registry keeps the first registration of a node and
// ignores later ones, so that a new record takes a Deregister before its Register.
// go-micro's memory and mDNS registries are known to be such.
func Recreate() registry.Option { return setOption(recreateKey{}, true) }

// PostQuantum states the post-quantum box key too in what this process registers, so that
// peers can seal to it with a post-quantum suite, as sealed.PostQuantum asks of subscribers
// and encrypted.PostQuantum of services. Without it they know that key by cards, or not at
// all. It makes up some 1.6 KB of a node's metadata, which every lookup copies, and is too
// much for mDNS, where it is always left out. Replicas that share a box.key have to share
// pq.key as well, or all of them to state theirs: else peers may know the key of one
// replica for that of all.
func PostQuantum() registry.Option { return setOption(pqKey{}, true) }

func setOption(key, value any) registry.Option {
	return func(o *registry.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key, value)
	}
}

// option reads what setOption stored, or the zero value.
func option[T any](ctx context.Context, key any) T {
	v, _ := lookup[T](ctx, key)
	return v
}

// lookup is option, and tells whether the option was given.
func lookup[T any](ctx context.Context, key any) (v T, given bool) {
	if ctx == nil {
		return v, false
	}
	v, given = ctx.Value(key).(T)
	return v, given
}
