package nats_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go-micro.dev/v4/broker"
)

// signIn is a way to say to NATS who one is.
type signIn struct {
	server natstest.Option
	good   func(addr string) broker.Option
	secret string // of the good one
	bad    map[string]bad
}

type bad struct {
	opt    func(addr string) broker.Option
	want   string // in the error: the cause, or the remedy
	secret string
}

// nkey makes a user's key, and a file of its seed.
func nkey(t *testing.T) (public, seed, file string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	raw, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public, string(raw), save(t, raw)
}

// save writes a new file.
func save(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// replace writes a file again, as who renews credentials does.
func replace(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.Rename(save(t, content), file); err != nil {
		t.Fatal(err)
	}
}

// seedFile is nats.go's option, which reads the file here and at each connection.
func seedFile(t *testing.T, file string) natsgo.Option {
	t.Helper()
	o, err := natsgo.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// isKey tells a secret key, which the server must not learn, from a password, which it
// has to.
func isKey(secret string) bool {
	_, err := nkeys.FromSeed([]byte(secret))
	return err == nil
}

// always is an option whatever the address.
func always(o broker.Option) func(string) broker.Option {
	return func(string) broker.Option { return o }
}

// inAddress puts an account before the address.
func inAddress(account string) func(string) broker.Option {
	return func(addr string) broker.Option { return broker.Addrs(account + "@" + addr) }
}

func signIns(t *testing.T) map[string]signIn {
	const refused = "check nats.Auth, nats.Token or the credentials of nats.Use"
	use := func(o natsgo.Option) func(string) broker.Option { return always(nats.Use(o)) }
	creds := func(content string) func(string) broker.Option {
		return use(natsgo.UserCredentials(save(t, []byte(content))))
	}
	account := natstest.User{Name: "greeter", Password: "right-secret"}
	public, seed, file := nkey(t)
	_, otherSeed, otherFile := nkey(t)
	_, _, spoiltFile := nkey(t)
	spoilt := seedFile(t, spoiltFile)
	replace(t, spoiltFile, []byte("wrong-secret"))
	o := natstest.NewOperator(t)
	user, other, expired, stranger := o.Credentials(0), o.Credentials(0), o.Credentials(-time.Minute), natstest.NewOperator(t).Credentials(0)
	handler := func(password string) natsgo.Option {
		return natsgo.UserInfoHandler(func() (string, string) { return "greeter", password })
	}
	token := func(token string) natsgo.Option { return natsgo.TokenHandler(func() string { return token }) }
	return map[string]signIn{
		"nats.Auth": {natstest.Users(account), always(nats.Auth("greeter", "right-secret")), "right-secret", map[string]bad{
			"wrong password": {always(nats.Auth("greeter", "wrong-secret")), refused, "wrong-secret"},
			"unknown user":   {always(nats.Auth("nobody", "right-secret")), refused, "right-secret"},
			"a token":        {always(nats.Token("wrong-secret")), refused, "wrong-secret"},
			"nothing":        {always(nats.Use()), refused, "right-secret"},
		}},
		"account in the address": {natstest.Users(account), inAddress("greeter:right-secret"), "right-secret", map[string]bad{
			"wrong password": {inAddress("greeter:wrong-secret"), refused, "wrong-secret"},
		}},
		"UserInfoHandler": {natstest.Users(account), use(handler("right-secret")), "right-secret", map[string]bad{
			"wrong password": {use(handler("wrong-secret")), refused, "wrong-secret"},
		}},
		"nats.Token": {natstest.Token("right-secret"), always(nats.Token("right-secret")), "right-secret", map[string]bad{
			"wrong token": {always(nats.Token("wrong-secret")), refused, "wrong-secret"},
			"a password":  {always(nats.Auth("greeter", "right-secret")), refused, "right-secret"},
		}},
		"token in the address": {natstest.Token("right-secret"), inAddress("right-secret"), "right-secret", map[string]bad{
			"wrong token": {inAddress("wrong-secret"), refused, "wrong-secret"},
		}},
		"TokenHandler": {natstest.Token("right-secret"), use(token("right-secret")), "right-secret", map[string]bad{
			"wrong token": {use(token("wrong-secret")), refused, "wrong-secret"},
		}},
		"nkey": {natstest.NKeys(public), use(seedFile(t, file)), seed, map[string]bad{
			"unknown key": {use(seedFile(t, otherFile)), refused, otherSeed},
			"another's signature": {use(natsgo.Nkey(public, func(nonce []byte) ([]byte, error) {
				key, err := nkeys.FromSeed([]byte(otherSeed))
				if err != nil {
					return nil, err
				}
				return key.Sign(nonce)
			})), refused, otherSeed},
			"file that was spoilt": {use(spoilt), "no nkey seed found", "wrong-secret"},
		}},
		"JWT": {natstest.Trusting(o), creds(string(user.File)), user.Seed, map[string]bad{
			"expired":             {creds(string(expired.File)), refused, expired.Seed},
			"of another operator": {creds(string(stranger.File)), refused, stranger.Seed},
			"another's seed":      {creds(strings.Replace(string(user.File), user.Seed, other.Seed, 1)), refused, other.Seed},
			"seed without JWT":    {creds(user.Seed), "no JWT", user.Seed},
			"seed in its block":   {creds(string(user.File)[strings.Index(string(user.File), "-----BEGIN USER NKEY SEED"):]), "no JWT", user.Seed},
			"blocks spoilt":       {creds(strings.ReplaceAll(string(user.File), "---", "")), "no JWT", user.Seed},
			"JWT without seed":    {creds(user.JWT), "no nkey seed found", user.JWT},
			"empty":               {creds(""), "no JWT", user.Seed},
			"no file":             {use(natsgo.UserCredentials("/nonexistent/greeter.creds")), "/nonexistent/greeter.creds", user.Seed},
			"nkey only":           {use(seedFile(t, file)), refused, seed},
			"a password":          {always(nats.Auth("greeter", "wrong-secret")), refused, "wrong-secret"},
		}},
		"JWT and seed in two files": {
			natstest.Trusting(o), use(natsgo.UserCredentials(save(t, []byte(user.JWT+"\n")), save(t, []byte(user.Seed+"\n")))), user.Seed,
			map[string]bad{
				"the seed twice": {use(natsgo.UserCredentials(save(t, []byte(user.Seed)), save(t, []byte(user.Seed)))), "no JWT", user.Seed},
			},
		},
	}
}

// TestAccounts signs in with all that NATS has for it, rightly and wrongly.
func TestAccounts(t *testing.T) {
	for name, tt := range signIns(t) {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, tt.server)
			var r recorder
			s.Proxy.Tap(r.tap)
			for name, wrong := range tt.bad {
				t.Run(name, func(t *testing.T) {
					log := newLogs()
					b := open(t, s.Addr(), broker.Logger(log), wrong.opt(s.Addr()))
					err := b.Connect()
					if err == nil || !strings.Contains(err.Error(), wrong.want) || strings.Contains(err.Error(), wrong.secret) {
						t.Errorf("got %v, want %q", err, wrong.want)
					}
					if log.count(wrong.secret) > 0 || strings.Contains(b.Address(), wrong.secret) {
						t.Error("the secret is in the log or the address")
					}
					if isKey(wrong.secret) && r.contains(wrong.secret) {
						t.Error("the secret key went to the server")
					}
					if err := b.Disconnect(); err != nil {
						t.Error(err)
					}
				})
			}
			log := newLogs()
			b := connect(t, s.Addr(), broker.Logger(log), tt.good(s.Addr()))
			got := subscribe(t, b, "topic")
			publish(t, b, "topic", "x")
			got.want("x")
			if log.count(tt.secret) > 0 || strings.Contains(b.Address(), tt.secret) {
				t.Error("the secret is in the log or the address")
			}
			if went := r.contains(tt.secret); went == isKey(tt.secret) {
				t.Errorf("the secret went to the server: %v", went)
			}
		})
	}
}
