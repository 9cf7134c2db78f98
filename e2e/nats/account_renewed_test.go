package nats_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// briefly is a lifetime that a test waits for: long enough to connect in.
const briefly = 3 * time.Second

// loss is a way to lose one's account while connected.
type loss struct {
	server  natstest.Option
	account natsgo.Option
	secrets []string // nobody may see them
	lose    func(*natstest.Server, broker.Broker)
	want    error // what NATS says of it
	renew   func(*natstest.Server)
}

var losses = map[string]func(*testing.T) loss{
	"JWT expired": func(t *testing.T) loss {
		o := natstest.NewOperator(t)
		first, last := o.Credentials(0), o.Credentials(0)
		file := save(t, first.File)
		return loss{natstest.Trusting(o), natsgo.UserCredentials(file), []string{first.Seed, first.JWT, last.Seed, last.JWT},
			func(s *natstest.Server, b broker.Broker) {
				reconnectBriefly(t, s, b, func() { replace(t, file, o.Credentials(briefly).File) })
			}, natsgo.ErrAuthExpired, func(*natstest.Server) { replace(t, file, last.File) }}
	},
	"JWT revoked": func(t *testing.T) loss {
		o := natstest.NewOperator(t)
		first, last := o.Credentials(0), o.Credentials(0)
		file := save(t, first.File)
		return loss{natstest.Trusting(o), natsgo.UserCredentials(file), []string{first.Seed, first.JWT, last.Seed, last.JWT},
			func(s *natstest.Server, _ broker.Broker) { o.Revoke(s, first.User) }, natsgo.ErrAuthRevoked,
			func(*natstest.Server) { replace(t, file, last.File) }}
	},
	"account's JWT expired": func(t *testing.T) loss {
		o := natstest.NewOperator(t)
		user := o.Credentials(0)
		return loss{natstest.Trusting(o), natsgo.UserCredentials(save(t, user.File)), []string{user.Seed, user.JWT},
			func(s *natstest.Server, _ broker.Broker) { o.Expire(s, time.Second) }, natsgo.ErrAccountAuthExpired,
			func(s *natstest.Server) { o.Expire(s, 0) }}
	},
	"nkey removed": func(t *testing.T) loss {
		public, seed, file := nkey(t)
		other, _, _ := nkey(t)
		return loss{natstest.NKeys(public), seedFile(t, file), []string{seed},
			func(s *natstest.Server, _ broker.Broker) {
				s.Reload(func(o *server.Options) { o.Nkeys[0].Nkey = other })
			}, natsgo.ErrAuthorization,
			func(s *natstest.Server) { s.Reload(func(o *server.Options) { o.Nkeys[0].Nkey = public }) }}
	},
	"password changed": func(*testing.T) loss {
		var password atomic.Value
		password.Store("first-secret")
		ask := func() (string, string) { return "greeter", password.Load().(string) }
		return loss{natstest.Users(natstest.User{Name: "greeter", Password: "first-secret"}), natsgo.UserInfoHandler(ask), []string{"first-secret", "last-secret"},
			func(s *natstest.Server, _ broker.Broker) {
				s.Reload(func(o *server.Options) { o.Users[0].Password = "last-secret" })
			}, natsgo.ErrAuthorization,
			func(*natstest.Server) { password.Store("last-secret") }}
	},
	"token changed": func(*testing.T) loss {
		var token atomic.Value
		token.Store("first-secret")
		return loss{natstest.Token("first-secret"), natsgo.TokenHandler(func() string { return token.Load().(string) }), []string{"first-secret", "last-secret"},
			func(s *natstest.Server, _ broker.Broker) {
				s.Reload(func(o *server.Options) { o.Authorization = "last-secret" })
			}, natsgo.ErrAuthorization,
			func(*natstest.Server) { token.Store("last-secret") }}
	},
}

// TestAccountLost reports that NATS does not take the account any more, and goes on where
// it was once there is a good one.
func TestAccountLost(t *testing.T) {
	for name, way := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := way(t)
			s := natstest.Start(t, w.server)
			log, incidents := newLogs(), make(chan nats.Incident, 1<<16)
			b := connect(t, s.Addr(), broker.Logger(log), nats.OnIncident(func(i nats.Incident) {
				for _, secret := range w.secrets {
					if strings.Contains(fmt.Sprint(i.Err), secret) {
						t.Errorf("a secret is in %+v", i)
					}
				}
				incidents <- i
			}),
				nats.Use(w.account, natsgo.CustomReconnectDelay(func(int) time.Duration { return 10 * time.Millisecond })))
			got := subscribe(t, b, "topic")
			publish(t, b, "topic", "before")
			got.want("before")
			// denied waits for what NATS says, and takes what it may say meanwhile.
			denied := func(want error) {
				t.Helper()
				for {
					i := incidentOf(t, incidents, nats.AccountDenied)
					if !strings.Contains(i.Err.Error(), "check nats.Auth, nats.Token or the credentials of nats.Use") {
						t.Errorf("got %+v", i)
					}
					if errors.Is(i.Err, want) {
						return
					}
				}
			}
			w.lose(s, b)
			denied(w.want)
			denied(natsgo.ErrAuthorization) // by the next connection
			before := stats(b).Reconnects
			w.renew(s)
			eventually(t, "the link is up again", func() bool { return stats(b).Reconnects > before })
			publish(t, b, "topic", "after")
			got.want("after")
			for _, secret := range w.secrets {
				if log.count(secret) > 0 {
					t.Error("a secret is in the log")
				}
			}
		})
	}
}

// TestCredentialsFileSpoilt reconnects while the file has only the key, or is gone.
func TestCredentialsFileSpoilt(t *testing.T) {
	o := natstest.NewOperator(t)
	user := o.Credentials(0)
	for name, spoil := range map[string]func(file string){
		"gone":     func(file string) { _ = os.Remove(file) },
		"key only": func(file string) { replace(t, file, []byte(user.Seed)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Start(t, natstest.Trusting(o))
			var r recorder
			s.Proxy.Tap(r.tap)
			file, incidents := save(t, user.File), make(chan nats.Incident, 1<<16)
			b := connect(t, s.Addr(), nats.Use(natsgo.UserCredentials(file)), nats.OnIncident(func(i nats.Incident) { incidents <- i }))
			got := subscribe(t, b, "topic")
			spoil(file)
			s.Proxy.Cut()
			if i := incidentOf(t, incidents, nats.Trouble); !errors.Is(i.Err, nats.ErrInvalid) || !strings.Contains(i.Err.Error(), "nats.Use") {
				t.Errorf("got %+v", i)
			}
			replace(t, file, user.File)
			eventually(t, "the link is up again", func() bool { return stats(b).Reconnects == 1 })
			publish(t, b, "topic", "x")
			got.want("x")
			if r.contains(user.Seed) {
				t.Error("the key went to the server")
			}
		})
	}
}

// TestAccountLostForGood reports it also where nats.go has given up, and the broker goes on.
func TestAccountLostForGood(t *testing.T) {
	s := natstest.Start(t, natstest.Users(natstest.User{Name: "greeter", Password: "first-secret"}))
	var password atomic.Value
	password.Store("first-secret")
	incidents := make(chan nats.Incident, 1<<16)
	b := connect(t, s.Addr(), nats.OnIncident(func(i nats.Incident) { incidents <- i }),
		nats.Use(natsgo.MaxReconnects(1), natsgo.UserInfoHandler(func() (string, string) { return "greeter", password.Load().(string) })))
	s.Reload(func(o *server.Options) { o.Users[0].Password = "last-secret" })
	for range 2 { // when the link is lost, and when nats.go gives up
		incidentOf(t, incidents, nats.Disconnected)
	}
	if i := incidentOf(t, incidents, nats.AccountDenied); !errors.Is(i.Err, natsgo.ErrAuthorization) || strings.Contains(i.Err.Error(), "secret") {
		t.Errorf("got %+v", i)
	}
	password.Store("last-secret")
	incidentOf(t, incidents, nats.Reconnected)
	publish(t, b, "topic", "x")
}

// TestStreamOverLostAccount delivers what was stored while NATS did not take the account.
func TestStreamOverLostAccount(t *testing.T) {
	s := natstest.Start(t, natstest.JetStream(), natstest.Users(root, natstest.User{Name: "greeter", Password: "first-secret"}))
	admin := connect(t, s.Addr(), stream(), nats.Auth(root.Name, root.Password))
	var password atomic.Value
	password.Store("first-secret")
	lost := make(chan struct{})
	b := connect(t, s.Addr(), stream(), nats.Use(natsgo.UserInfoHandler(func() (string, string) { return "greeter", password.Load().(string) })),
		nats.OnIncident(func(i nats.Incident) {
			if i.Kind == nats.Disconnected {
				close(lost)
			}
		}))
	got, queued := subscribe(t, b, "s.>"), subscribe(t, b, "s.>", broker.Queue("q"))
	s.Reload(func(o *server.Options) { o.Users[1].Password = "last-secret" })
	<-lost
	publish(t, admin, "s.a", "meanwhile")
	password.Store("last-secret")
	got.want("meanwhile")
	queued.want("meanwhile")
	publish(t, b, "s.a", "afterwards")
	got.want("afterwards")
	queued.want("afterwards")
}
