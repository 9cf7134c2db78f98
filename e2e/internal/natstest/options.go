package natstest

import (
	"github.com/go-signet/signet/identity"
	"github.com/nats-io/nats-server/v2/server"
)

// Option changes how servers are started.
type Option func(*config)

type config struct {
	authority  *identity.Authority
	service    string
	dns        []string
	anonymous  bool
	jetStream  bool
	users      []User
	mapped     bool
	nkeys      []string
	operator   *Operator
	token      string
	maxPayload int32
}

func newConfig(opts []Option) *config {
	c := &config{service: "nats", dns: []string{"localhost"}, maxPayload: server.MAX_PAYLOAD_SIZE}
	for _, o := range opts {
		o(c)
	}
	return c
}

// TLS makes clients need TLS and a certificate of the authority. The servers are the
// service "nats" of its trust domain, with the DNS name "localhost" for clients that
// compare host names.
func TLS(a *identity.Authority) Option { return func(c *config) { c.authority = a } }

// Service makes the servers another service than "nats".
func Service(name string) Option { return func(c *config) { c.service = name } }

// AnonymousClients lets TLS clients in without a certificate.
func AnonymousClients() Option { return func(c *config) { c.anonymous = true } }

// JetStream gives the servers a store, in a directory of the test's.
func JetStream() Option { return func(c *config) { c.jetStream = true } }

// MaxPayload is how many bytes a message may have, with its headers; default 1 MiB.
func MaxPayload(n int32) Option { return func(c *config) { c.maxPayload = n } }

// Token makes the servers want a token.
func Token(token string) Option { return func(c *config) { c.token = token } }

// Users makes the servers refuse everybody else. The first is whom the harness's Client
// is, so it should have all permissions.
func Users(users ...User) Option { return func(c *config) { c.users = users } }

// NKeys makes the servers refuse everybody but the users with these public keys.
func NKeys(public ...string) Option { return func(c *config) { c.nkeys = public } }

// Trusting makes the servers refuse everybody but the users whom an operator has
// made.
func Trusting(o *Operator) Option { return func(c *config) { c.operator = o } }

// MapCertificates makes a server with TLS take the SPIFFE ID in a client's certificate for
// its name among the Users, instead of a password.
func MapCertificates() Option { return func(c *config) { c.mapped = true } }

// User is an account with a password.
type User struct {
	Name, Password string
	// Publish and Subscribe are the subjects that it may publish to and subscribe to;
	// everything if both are nil. A user with permissions also may use inboxes.
	Publish, Subscribe []string
}

func (u User) server() *server.User {
	made := &server.User{Username: u.Name, Password: u.Password}
	if u.Publish == nil && u.Subscribe == nil {
		return made
	}
	made.Permissions = &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: append([]string{"_INBOX.>"}, u.Publish...)},
		Subscribe: &server.SubjectPermission{Allow: append([]string{"_INBOX.>"}, u.Subscribe...)},
	}
	return made
}
