package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/backend"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// settings is a configuration that was found complete and secure. It does not change.
type settings struct {
	nats     natsgo.Options // without callbacks of this package
	addrs    []address
	id       *identity.Identity // who decides whether the server is NATS; nil if a tls.Config does
	services []string
	limits   pendingLimits
	drain    time.Duration
	stream   *streamSettings // nil: core NATS
}

// check makes settings of options, except for what an identity adds. The error is
// ErrNoIdentity only if nothing else is wrong; it comes with settings if TLS is wanted
// and nothing says whom to trust.
func check(o *broker.Options) (*settings, error) {
	s := &settings{nats: defaults(), limits: pendingLimits{DefaultPendingMessages, DefaultPendingBytes}, drain: DefaultDrainTimeout}
	var err error
	if s.addrs, err = parseAddresses(o.Addrs); err != nil {
		return nil, err
	}
	if limits, given := option[pendingLimits](o.Context, limitsKey{}); given {
		if limits.messages <= 0 || limits.bytes <= 0 {
			return nil, invalidf("nats.PendingLimits(%d, %d): want positive limits", limits.messages, limits.bytes)
		}
		s.limits = limits
	}
	if d, given := option[time.Duration](o.Context, drainKey{}); given {
		if d <= 0 {
			return nil, invalidf("nats.DrainTimeout(%v): want a positive time", d)
		}
		s.drain = d
	}
	if s.stream, err = streamOf(o); err != nil {
		return nil, err
	}
	if err := s.use(o); err != nil {
		return nil, err
	}
	if err := s.account(o); err != nil {
		return nil, err
	}
	return s, s.link(o)
}

// defaults are those of nats.go that this package changes and nats.Use can change again.
func defaults() natsgo.Options {
	d := natsgo.GetDefaultOptions()
	d.MaxReconnect = -1
	d.IgnoreAuthErrorAbort = true // or the second refusal would be the end
	d.CustomReconnectDelayCB = reconnectDelay
	// A dead connection is found within half a minute, a stalled one within ten seconds.
	d.PingInterval = 10 * time.Second
	d.FlusherTimeout = 10 * time.Second
	d.ReconnectOnFlusherError = true
	// Names are looked up by the dialer then, within its timeout.
	d.SkipHostLookup = true
	return d
}

// use applies nats.Use.
func (s *settings) use(o *broker.Options) error {
	given, _ := option[[]natsgo.Option](o.Context, useKey{})
	for _, f := range given {
		if f == nil {
			continue
		}
		if err := f(&s.nats); err != nil {
			return invalidf("an option of nats.Use: %w", err)
		}
	}
	n := &s.nats
	switch {
	case n.Url != "" || len(n.Servers) > 0:
		return invalidf("nats.Use names servers: name them with broker.Addrs")
	case n.SkipSubjectValidation:
		return fmt.Errorf("nats: %w: nats.Use skips the validation of subjects: remove that", ErrInsecure)
	case n.TLSConfig != nil && o.TLSConfig != nil:
		return invalidf("both broker.TLSConfig and nats.Use set a tls.Config: remove one")
	}
	return nil
}

// link decides between TLS and clear.
func (s *settings) link(o *broker.Options) error {
	n := &s.nats
	conf := o.TLSConfig
	if conf == nil {
		conf = n.TLSConfig
	}
	id, given := option[*identity.Identity](o.Context, identityKey{})
	services, named := option[[]string](o.Context, serverKey{})
	switch {
	case given && id == nil:
		return fmt.Errorf("nats: %w: nats.Identity(nil): check the error of what made the identity", ErrNoIdentity)
	case named && (len(services) == 0 || slices.Contains(services, "")):
		return fmt.Errorf("nats: %w: nats.Server with no name, or an empty one: name the service that NATS is", ErrInsecure)
	}
	secure := given || conf != nil || o.Secure || n.Secure || n.RootCAsCB != nil || n.TLSCertCB != nil ||
		slices.ContainsFunc(s.addrs, func(a address) bool { return a.tls })
	for _, a := range s.addrs {
		n.Servers = append(n.Servers, a.url(secure))
	}
	if !secure {
		return s.inClear()
	}
	if skip, ok := n.CustomDialer.(interface{ SkipTLSHandshake() bool }); ok && skip.SkipTLSHandshake() {
		return fmt.Errorf("nats: %w: the dialer of nats.Use skips TLS: remove it", ErrInsecure)
	}
	if conf == nil && n.RootCAsCB != nil {
		conf = &tls.Config{}
	}
	if conf != nil {
		if err := checkTLSConfig(conf); err != nil {
			return err
		}
	}
	n.Secure = true
	if !named {
		services = []string{"nats"}
	}
	s.services = services
	if conf == nil && !given {
		return fmt.Errorf("nats: %w: TLS is asked for: pass nats.Identity(id) or broker.TLSConfig(cfg), or name a directory made by `signet issue` in $%s", ErrNoIdentity, identity.EnvDir)
	}
	n.TLSConfig = tlsConfig(conf, id, services)
	if conf == nil {
		s.id = id
	}
	if id != nil {
		n.TLSCertCB = nil
	}
	return nil
}

// inClear refuses to let credentials off this machine. The answer to an nkey's challenge
// is none.
func (s *settings) inClear() error {
	n := &s.nats
	secret := n.User != "" || n.Password != "" || n.Token != "" || n.UserInfo != nil || n.TokenHandler != nil || n.UserJWT != nil ||
		slices.ContainsFunc(s.addrs, func(a address) bool { return a.account != nil })
	if !secret {
		return nil
	}
	for _, a := range s.addrs {
		if !backend.Loopback(a.host) {
			return fmt.Errorf("nats: %w: credentials would go to %s in clear: use TLS, by nats.Identity, broker.TLSConfig or tls://", ErrInsecure, a.host)
		}
	}
	if n.CustomDialer != nil {
		return fmt.Errorf("nats: %w: credentials in clear, and nats.Use has a dialer, which may dial anywhere: use TLS", ErrInsecure)
	}
	n.IgnoreDiscoveredServers = true // they are elsewhere
	dialer := net.Dialer{Timeout: n.Timeout}
	if n.Dialer != nil {
		dialer = *n.Dialer
	}
	dialer.ControlContext = nil
	dialer.Control = onlyLoopback
	n.Dialer = &dialer
	return nil
}

// onlyLoopback refuses to dial elsewhere, whatever "localhost" has been resolved to.
func onlyLoopback(_, addr string, _ syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("nats: %w: %s is not of this machine, and credentials would go there in clear", ErrInsecure, addr)
}

// resolve makes settings from options. env is the identity that an earlier call loaded
// from the environment, if any; it returns the one to keep.
func resolve(o *broker.Options, env *identity.Identity) (*settings, *identity.Identity, error) {
	s, err := check(o)
	if _, given := option[*identity.Identity](o.Context, identityKey{}); errors.Is(err, ErrNoIdentity) && !given {
		if env == nil {
			var missing error
			if env, missing = identity.FromEnv(); missing != nil {
				return nil, nil, fmt.Errorf("%w: %w", err, missing)
			}
		}
		with := *o
		Identity(env)(&with)
		s, err = check(&with)
	}
	if err != nil {
		return nil, env, err
	}
	if s.id != nil {
		if _, err := s.id.TLSCertificate(); err != nil {
			return nil, env, fmt.Errorf("nats: %w: the identity that was given is of no use: %w", ErrNoIdentity, err)
		}
	}
	return s, env, nil
}
