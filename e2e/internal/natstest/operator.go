package natstest

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Operator makes users by signed JWTs, as the tool nsc does: servers know only whom they
// trust, and no user. It has one account.
type Operator struct {
	t        testing.TB
	key      nkeys.KeyPair
	account  nkeys.KeyPair
	claims   *jwt.AccountClaims
	resolver server.MemAccResolver
}

// NewOperator makes keys, and the account.
func NewOperator(t testing.TB) *Operator {
	t.Helper()
	o := &Operator{t: t, key: newKey(t, nkeys.PrefixByteOperator), account: newKey(t, nkeys.PrefixByteAccount)}
	o.claims = jwt.NewAccountClaims(o.public(o.account))
	o.store()
	return o
}

// Credentials are what a user needs.
type Credentials struct {
	User string // its public key
	JWT  string
	Seed string // the secret
	File []byte // both, as a .creds file has them
}

// Credentials makes a new user, for ever if lifetime is 0.
func (o *Operator) Credentials(lifetime time.Duration) Credentials {
	o.t.Helper()
	user := newKey(o.t, nkeys.PrefixByteUser)
	c := Credentials{User: o.public(user)}
	claims := jwt.NewUserClaims(c.User)
	if lifetime != 0 {
		claims.Expires = time.Now().Add(lifetime).Unix()
	}
	seed, err := user.Seed()
	o.check(err)
	c.Seed = string(seed)
	c.JWT, err = claims.Encode(o.account)
	o.check(err)
	c.File, err = jwt.FormatUserConfig(c.JWT, seed)
	o.check(err)
	return c
}

// Revoke takes a user's rights, and tells a server so.
func (o *Operator) Revoke(s *Server, user string) {
	o.t.Helper()
	o.claims.Revoke(user)
	o.update(s)
}

// Expire ends the account after a time, or never for 0, and tells a server so.
func (o *Operator) Expire(s *Server, lifetime time.Duration) {
	o.t.Helper()
	o.claims.Expires = 0
	if lifetime != 0 {
		o.claims.Expires = time.Now().Add(lifetime).Unix()
	}
	o.update(s)
}

func (o *Operator) update(s *Server) {
	o.t.Helper()
	o.store()
	account, err := s.running.LookupAccount(o.claims.Subject)
	if errors.Is(err, server.ErrAccountExpired) {
		return // it looks for a new one at the next user who comes
	}
	o.check(err)
	s.running.UpdateAccountClaims(account, o.claims)
}

// store puts the account where servers look for it.
func (o *Operator) store() {
	o.t.Helper()
	signed, err := o.claims.Encode(o.key)
	o.check(err)
	o.check(o.resolver.Store(o.claims.Subject, signed))
}

// rule has a server trust the operator.
func (o *Operator) rule(opts *server.Options) {
	o.t.Helper()
	claims := jwt.NewOperatorClaims(o.public(o.key))
	_, err := claims.Encode(o.key)
	o.check(err)
	opts.TrustedOperators = []*jwt.OperatorClaims{claims}
	opts.AccountResolver = &o.resolver
}

func (o *Operator) public(key nkeys.KeyPair) string {
	o.t.Helper()
	public, err := key.PublicKey()
	o.check(err)
	return public
}

func (o *Operator) check(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func newKey(t testing.TB, prefix nkeys.PrefixByte) nkeys.KeyPair {
	t.Helper()
	key, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
