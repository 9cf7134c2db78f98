package nats

import (
	"context"
	"time"

	"github.com/go-signet/signet/identity"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

type (
	identityKey struct{}
	serverKey   struct{}
	authKey     struct{}
	tokenKey    struct{}
	useKey      struct{}
	limitsKey   struct{}
	drainKey    struct{}
	incidentKey struct{}
)

// Identity is who this side is and whom it trusts, and makes the link TLS: NATS is shown
// its certificate, and must prove to be the service that Server names by one that the
// identity verifies. A renewal takes effect on the next connection. When the identity
// comes to distrust the certificate that NATS has shown, the connection ends and another
// is made. The broker does not close the identity.
//
// Beside broker.TLSConfig that decides whom to trust, and the identity is only shown.
func Identity(id *identity.Identity) broker.Option { return setOption(identityKey{}, id) }

// Server names the services that NATS may be, as identity.Peer.Serves has names. The
// default is "nats". The option replaces an earlier Server.
func Server(names ...string) broker.Option {
	return setOption(serverKey{}, append([]string(nil), names...))
}

type credentials struct{ user, password string }

// Auth is the account at NATS. It is refused on a link in clear, unless all addresses are
// of the loopback interface.
func Auth(user, password string) broker.Option {
	return setOption(authKey{}, credentials{user, password})
}

// Token is the token that NATS wants, on the terms of Auth.
func Token(token string) broker.Option { return setOption(tokenKey{}, token) }

// Use hands options to nats.go, for what this package has no option for:
//
//	nats.Use(natsgo.UserCredentials("greeter.creds"))   // JWT and its key
//	nats.Use(natsgo.Nkey(public, sign), natsgo.Name("greeter"))
//	nats.Use(natsgo.Timeout(5*time.Second))             // of one attempt to connect
//
// Files of credentials are read at each connection: replace one, and the next connection
// has it. Options cannot name servers, and cannot weaken TLS. Callbacks are called beside this
// package's own. The option adds to an earlier Use.
func Use(opts ...natsgo.Option) broker.Option {
	return func(o *broker.Options) {
		before, _ := option[[]natsgo.Option](o.Context, useKey{})
		setOption(useKey{}, append(append([]natsgo.Option(nil), before...), opts...))(o)
	}
}

// Defaults of PendingLimits and DrainTimeout.
const (
	DefaultPendingMessages = 65536
	DefaultPendingBytes    = 64 << 20
	DefaultDrainTimeout    = 10 * time.Second
)

type pendingLimits struct{ messages, bytes int }

// PendingLimits bounds what waits for the handler of one subscription, in messages and in
// bytes with headers. What comes beyond it is dropped, counted and reported. A subscription
// to JetStream does not drop: it asks for no more than half of this, and at most for
// MaxAckPending messages.
func PendingLimits(messages, bytes int) broker.Option {
	return setOption(limitsKey{}, pendingLimits{messages, bytes})
}

// DrainTimeout is how long Disconnect waits for handlers to finish what was received.
func DrainTimeout(d time.Duration) broker.Option { return setOption(drainKey{}, d) }

// OnIncident is told what the broker could not tell anybody by returning an error. Calls
// do not overlap, and at most 64 wait; what is beyond that is only counted.
func OnIncident(f func(Incident)) broker.Option { return setOption(incidentKey{}, f) }

func setOption(key, value any) broker.Option {
	return func(o *broker.Options) {
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
