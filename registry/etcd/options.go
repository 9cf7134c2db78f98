package etcd

import (
	"context"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

type (
	identityKey struct{}
	serverKey   struct{}
	insecureKey struct{}
	authKey     struct{}
	prefixKey   struct{}
	limitsKey   struct{}
)

// DefaultPrefix is what keys begin with; go-micro's own plugin has the same.
const DefaultPrefix = "/micro/registry/"

// Identity is who this side is and whom it trusts: etcd is shown its certificate,
// and must prove to be the service that Server names by one that the identity
// verifies. Renewals take effect on new connections. The identity is also the owner
// of what is registered. The registry does not close it.
//
// Beside registry.TLSConfig that decides whom to trust, and the identity is only
// shown and the owner; with Insecure it is the owner only.
func Identity(id *identity.Identity) registry.Option { return setOption(identityKey{}, id) }

// Server names the services that etcd may be, as identity.Peer.Serves has names. The
// default is "etcd". The option replaces an earlier Server.
func Server(names ...string) registry.Option {
	return setOption(serverKey{}, append([]string(nil), names...))
}

// Insecure talks to etcd in clear, for development: whoever is on the network reads
// and changes everything. It is refused together with Auth unless all addresses are
// of the loopback interface, and together with registry.TLSConfig.
func Insecure() registry.Option { return setOption(insecureKey{}, true) }

type credentials struct{ user, password string }

// Auth is the account at etcd. The default is in the environment variables
// ETCD_USERNAME and ETCD_PASSWORD. An etcd with --client-cert-auth needs neither: it
// takes the common name of the client certificate for the user, which for an
// identity is the service's name.
func Auth(user, password string) registry.Option {
	return setOption(authKey{}, credentials{user, password})
}

// Prefix is what all keys begin with; a '/' is added at its end if it has none. The
// default is DefaultPrefix. Services see each other under the same prefix only.
func Prefix(prefix string) registry.Option { return setOption(prefixKey{}, prefix) }

// Limits bounds what others can make this side hold. A zero field means its default.
type Limits struct {
	// Record is how many bytes a record may have: a larger one cannot be registered,
	// and is skipped when it is read. Default 1 MiB; etcd itself takes 1.5 MiB.
	Record int
	// Records is how many records one answer has, and how many a watcher remembers;
	// default 65536. What is beyond it, in the order of keys, is left out, and that
	// is logged.
	Records int
	// Total is how many bytes these records may have together; default 64 MiB. One
	// that becomes larger in memory counts with that.
	Total int
	// Events is how many changes wait for a slow caller of Next; default 4096. Once
	// there are more, or they have more bytes than Total, it gets the difference to
	// what it knows instead.
	Events int
}

// Limit sets the limits; see Limits for defaults.
func Limit(l Limits) registry.Option { return setOption(limitsKey{}, l) }

func (l Limits) withDefaults() Limits {
	setDefault(&l.Record, 1<<20)
	setDefault(&l.Records, 65536)
	setDefault(&l.Total, 64<<20)
	setDefault(&l.Events, 4096)
	return l
}

func setDefault(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

func setOption(key, value any) registry.Option {
	return func(o *registry.Options) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key, value)
	}
}

// option reads what setOption stored; given is false if that was never called.
func option[T any](ctx context.Context, key any) (value T, given bool) {
	if ctx == nil {
		return value, false
	}
	value, given = ctx.Value(key).(T)
	return value, given
}
