package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/backend"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
)

const (
	defaultTimeout = 5 * time.Second
	maxPrefix      = 512
)

// Environment variables of the account, as go-micro's own plugin has them.
const (
	userEnv     = "ETCD_USERNAME"
	passwordEnv = "ETCD_PASSWORD"
)

// settings is a configuration that was found complete and secure. It does not
// change.
type settings struct {
	endpoints []string
	tls       *tls.Config // nil: in clear
	server    string      // the name that a tls.Config of the user's gave the server
	auth      credentials
	owner     string
	timeout   time.Duration
	prefix    string
	limits    Limits
	log       *backend.LimitedLogger
}

// check makes settings of options, except for what an identity adds. The error is
// ErrNoIdentity only if nothing else is wrong; it comes with settings if there is no
// identity at all.
func check(o *registry.Options) (*settings, error) {
	insecure, _ := option[bool](o.Context, insecureKey{})
	id, given := option[*identity.Identity](o.Context, identityKey{})
	servers, named := option[[]string](o.Context, serverKey{})
	limits, _ := option[Limits](o.Context, limitsKey{})
	s := &settings{timeout: o.Timeout, limits: limits.withDefaults(), log: backend.NewLimitedLogger(o.Logger)}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	var err error
	if s.endpoints, err = parseAddresses(o.Addrs, insecure); err != nil {
		return nil, err
	}
	if s.auth, err = account(o); err != nil {
		return nil, err
	}
	if s.prefix, err = prefix(o); err != nil {
		return nil, err
	}
	switch {
	case insecure && o.TLSConfig != nil:
		return nil, fmt.Errorf("etcd: %w: both etcd.Insecure and registry.TLSConfig are set: remove etcd.Insecure", ErrInsecure)
	case insecure && o.Secure:
		return nil, fmt.Errorf("etcd: %w: both etcd.Insecure and registry.Secure are set: remove etcd.Insecure", ErrInsecure)
	case insecure && s.auth.user != "" && !loopback(s.endpoints):
		return nil, fmt.Errorf("etcd: %w: a password would go over the network in clear: remove etcd.Insecure", ErrInsecure)
	case named && (len(servers) == 0 || slices.Contains(servers, "")):
		return nil, fmt.Errorf("etcd: %w: etcd.Server with no name, or an empty one: name the service that etcd is", ErrInsecure)
	}
	if o.TLSConfig != nil {
		if err := checkTLSConfig(o.TLSConfig); err != nil {
			return nil, err
		}
	}
	switch {
	case given && id == nil:
		return nil, fmt.Errorf("etcd: %w: etcd.Identity(nil): check the error of what made the identity", ErrNoIdentity)
	case !given && o.TLSConfig == nil && !insecure:
		return s, fmt.Errorf("etcd: %w: pass etcd.Identity(id) or registry.TLSConfig(cfg), or name a directory made by `signet issue` in $%s", ErrNoIdentity, identity.EnvDir)
	}
	return s, nil
}

// resolve makes settings from options. env is the identity that an earlier call
// loaded from the environment, if any; it returns the one to keep.
func resolve(o *registry.Options, env *identity.Identity) (*settings, *identity.Identity, error) {
	id, given := option[*identity.Identity](o.Context, identityKey{})
	s, err := check(o)
	if errors.Is(err, ErrNoIdentity) && !given {
		if env == nil {
			var missing error
			if env, missing = identity.FromEnv(); missing != nil {
				return nil, nil, fmt.Errorf("%w: %w", err, missing)
			}
		}
		id, err = env, nil
	}
	if err != nil {
		return nil, env, err
	}
	if id != nil {
		s.owner = id.ID()
		if _, err := id.TLSCertificate(); err != nil {
			return nil, env, fmt.Errorf("etcd: %w: the identity that was given is of no use: %w", ErrNoIdentity, err)
		}
	}
	if insecure, _ := option[bool](o.Context, insecureKey{}); insecure {
		return s, env, nil
	}
	servers, named := option[[]string](o.Context, serverKey{})
	if !named {
		servers = []string{"etcd"}
	}
	s.tls, s.server = tlsConfig(o.TLSConfig, id, servers)
	return s, env, nil
}

// account is who we are at etcd, if it wants to know.
func account(o *registry.Options) (credentials, error) {
	c, given := option[credentials](o.Context, authKey{})
	from := "etcd.Auth"
	if !given {
		c = credentials{os.Getenv(userEnv), os.Getenv(passwordEnv)}
		from = "$" + userEnv + " and $" + passwordEnv
	}
	if (c.user == "") != (c.password == "") {
		return credentials{}, fmt.Errorf("etcd: %w: of user and password one is empty in %s: give both or neither", ErrInvalid, from)
	}
	return c, nil
}

func prefix(o *registry.Options) (string, error) {
	p, given := option[string](o.Context, prefixKey{})
	if !given {
		return DefaultPrefix, nil
	}
	if p != "" && !strings.HasSuffix(p, "/") {
		p += "/"
	}
	if p == "" || p == "/" || len(p) > maxPrefix || !utf8.ValidString(p) || strings.IndexFunc(p, control) >= 0 {
		return "", fmt.Errorf("etcd: %w: etcd.Prefix(%s): want a path such as %q, at most %d bytes", ErrInvalid, keys.Quote(p), DefaultPrefix, maxPrefix)
	}
	return p, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
