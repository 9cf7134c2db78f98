package nats

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// account takes who we are at NATS.
func (s *settings) account(o *broker.Options) error {
	c, auth := option[credentials](o.Context, authKey{})
	token, hasToken := option[string](o.Context, tokenKey{})
	switch {
	case auth && (c.user == "" || c.password == ""):
		return invalidf("nats.Auth: of user and password one is empty: give both")
	case hasToken && token == "":
		return invalidf("nats.Token: the token is empty")
	case auth && hasToken:
		return invalidf("both nats.Auth and nats.Token are set: remove one")
	case s.nats.Nkey != "" && !strings.HasPrefix(s.nats.Nkey, "U"):
		// It would be sent: a secret key begins with S.
		return invalidf("the nkey of nats.Use is no user's public key, which begins with U")
	}
	if auth {
		s.nats.User, s.nats.Password = c.user, c.password
	}
	if hasToken {
		s.nats.Token = token
	}
	if s.nats.UserJWT == nil {
		return nil
	}
	s.nats.UserJWT = onlyJWT(s.nats.UserJWT)
	_, err := s.nats.UserJWT()
	return err
}

// jwtForm is what a JWT looks like, and a key does not.
var jwtForm = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`)

// onlyJWT keeps anything else from going to the server: if nats.go finds no JWT in a
// file it sends the whole of it, or the secret key.
func onlyJWT(fetch natsgo.UserJWTHandler) natsgo.UserJWTHandler {
	return func() (string, error) {
		jwt, err := fetch()
		if err != nil {
			return "", invalidf("the JWT of nats.Use: %w", err)
		}
		if jwt = strings.TrimSpace(jwt); !jwtForm.MatchString(jwt) {
			return "", invalidf("no JWT is where nats.Use says that it is: give the .creds file as nsc has made it, or an nkey by natsgo.NkeyOptionFromSeed")
		}
		return jwt, nil
	}
}

// deniesAccount reports whether an error is the server's about who we are.
func deniesAccount(err error) bool {
	for _, e := range []error{natsgo.ErrAuthorization, natsgo.ErrAuthExpired, natsgo.ErrAuthRevoked, natsgo.ErrAccountAuthExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accountError says what to do about an error that deniesAccount. NATS does not always
// tell an account that is wrong from one that has expired or was revoked.
func accountError(err error) error {
	return fmt.Errorf("%w: check nats.Auth, nats.Token or the credentials of nats.Use, and whether they have expired or were revoked", err)
}
