package quic

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/transport"
)

// settings is a configuration that was found complete and secure. It does not
// change.
type settings struct {
	creds        *credentials
	via          []string
	limits       Limits
	timeouts     Timeouts
	ioTimeout    time.Duration // transport.Timeout: of each Send and each Recv; 0 for none
	requireKnown bool
	offload      bool
	dialFrom     net.PacketConn
	resetKey     *[32]byte
	log          logger.Logger
	budget       *windowBudget
	partial      *partialBudget
}

// checkOptions reports what is wrong with o short of loading an identity.
func checkOptions(o *transport.Options) error {
	id, given := contextValue(o.Context, identityKey{}).(*identity.Identity)
	authorize, asked := contextValue(o.Context, authorizeKey{}).(func(identity.Peer) error)
	switch {
	case given && id == nil:
		return fmt.Errorf("quic: %w: quic.Identity(nil): check the error of what made the identity", ErrNoIdentity)
	case asked && authorize == nil:
		return fmt.Errorf("quic: %w: quic.Authorize(nil) would let everybody in: leave the option out, or give a function", ErrInsecure)
	case id != nil && o.TLSConfig != nil:
		return fmt.Errorf("quic: %w: both quic.Identity and transport.TLSConfig are set: keep one", ErrInsecure)
	case o.TLSConfig != nil:
		return checkTLSConfig(o.TLSConfig)
	}
	return nil
}

// resolve makes settings from options. env is the identity that an earlier call
// loaded from the environment, if any; it returns the one to keep.
func resolve(o *transport.Options, env *identity.Identity) (*settings, *identity.Identity, error) {
	if err := checkOptions(o); err != nil {
		return nil, env, err
	}
	id := option[*identity.Identity](o.Context, identityKey{})
	if id == nil && o.TLSConfig == nil {
		if env == nil {
			var err error
			if env, err = identity.FromEnv(); err != nil {
				return nil, nil, fmt.Errorf("quic: %w: pass quic.Identity(id) or transport.TLSConfig(cfg), or name a directory made by `signet issue` in $SIGNET_IDENTITY: %w", ErrNoIdentity, err)
			}
		}
		id = env
	}
	log := o.Logger
	if log == nil {
		log = logger.DefaultLogger
	}
	limits := option[Limits](o.Context, limitsKey{}).withDefaults()
	s := &settings{
		creds:        newCredentials(id, o.TLSConfig, option[func(identity.Peer) error](o.Context, authorizeKey{})),
		via:          option[[]string](o.Context, viaKey{}),
		limits:       limits,
		timeouts:     option[Timeouts](o.Context, timeoutsKey{}).withDefaults(),
		ioTimeout:    o.Timeout,
		requireKnown: option[bool](o.Context, requireKnownKey{}),
		offload:      !option[bool](o.Context, noOffloadKey{}),
		dialFrom:     option[net.PacketConn](o.Context, dialFromKey{}),
		log:          log,
		budget:       newWindowBudget(limits.Buffered),
		partial:      &partialBudget{total: limits.Partial},
	}
	if key, ok := contextValue(o.Context, resetKeyKey{}).([32]byte); ok {
		s.resetKey = &key
	}
	return s, env, nil
}

func contextValue(ctx context.Context, key any) any {
	if ctx == nil {
		return nil
	}
	return ctx.Value(key)
}

// mayServe reports whether a call to service may be sent to peer.
func (s *settings) mayServe(peer identity.Peer, service string) bool {
	if peer.Serves(service) {
		return true
	}
	for _, v := range s.via {
		if peer.Serves(v) {
			return true
		}
	}
	return false
}
