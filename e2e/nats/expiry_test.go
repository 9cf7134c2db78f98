package nats_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/go-signet/signet/identity"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// TestServerCertificateEnds lets the certificate of NATS end while connected. With an
// identity the link ends with it. With a tls.Config it stays until it is cut. Neither
// comes back before NATS has a new one.
func TestServerCertificateEnds(t *testing.T) {
	a := authority(t, "shop.internal")
	id := issue(t, a, "greeter")
	for name, tt := range map[string]struct {
		trust   broker.Option
		watched bool
	}{
		"identity":   {nats.Identity(id), true},
		"tls.Config": {broker.TLSConfig(&tls.Config{RootCAs: id.TrustPool(), ServerName: "localhost"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.TLS(a), natstest.AnonymousClients())
			log, incidents := newLogs(), make(chan nats.Incident, 1<<16)
			b := connect(t, s.Addr(), tt.trust, broker.Logger(log), nats.OnIncident(func(i nats.Incident) { incidents <- i }),
				nats.Use(natsgo.CustomReconnectDelay(func(int) time.Duration { return 10 * time.Millisecond })))
			got := subscribe(t, b, "topic")
			reconnectBriefly(t, s, b, func() { s.Renew(identity.ValidFor(briefly)) })
			before := stats(b).Reconnects
			ends := time.Now().Add(briefly + time.Second)
			if tt.watched {
				if i := incidentOf(t, incidents, nats.Distrusted); !errors.Is(i.Err, identity.ErrExpired) {
					t.Errorf("got %+v", i)
				}
			} else {
				eventually(t, "the certificate has ended", func() bool { return time.Now().After(ends) })
				publish(t, b, "topic", "still there")
				got.want("still there")
				s.Proxy.Cut()
			}
			eventually(t, "reconnects are refused, and logged", func() bool { return log.count("reconnect: ") > 2 && log.count("expired") > 1 })
			if n := stats(b).Reconnects; n != before {
				t.Errorf("%d reconnects", n-before)
			}
			s.Renew()
			eventually(t, "the link is up again", func() bool { return stats(b).Reconnects > before })
			publish(t, b, "topic", "after")
			got.want("after")
		})
	}
}

// TestLateServerCertificateEnds is the same for a first connection that nats.go makes in
// the background, after Connect has returned.
func TestLateServerCertificateEnds(t *testing.T) {
	t.Parallel()
	a := authority(t, "shop.internal")
	s := natstest.Start(t, natstest.TLS(a))
	s.Proxy.Refuse()
	connected, incidents := make(chan struct{}, 1), make(chan nats.Incident, 1<<16)
	b := connect(t, s.Addr(), nats.Identity(issue(t, a, "greeter")), nats.OnIncident(func(i nats.Incident) { incidents <- i }),
		nats.Use(natsgo.RetryOnFailedConnect(true), natsgo.ConnectHandler(func(*natsgo.Conn) { connected <- struct{}{} }),
			natsgo.CustomReconnectDelay(func(int) time.Duration { return 10 * time.Millisecond })))
	up := false
	for end := time.Now().Add(long); !up && time.Now().Before(end); {
		s.Renew(identity.ValidFor(briefly))
		s.Proxy.Pass()
		select {
		case <-connected:
			up = true
		case <-time.After(briefly): // the machine was too slow
		}
	}
	if !up {
		t.Fatal("not connected")
	}
	if i := incidentOf(t, incidents, nats.Distrusted); !errors.Is(i.Err, identity.ErrExpired) {
		t.Errorf("got %+v", i)
	}
	s.Renew()
	eventually(t, "the link is up again", func() bool { return stats(b).Reconnects == 1 })
}

// reconnectBriefly has the link made anew with what lasts for a while only, and once more
// if the machine was too slow for that.
func reconnectBriefly(t *testing.T, s *natstest.Server, b broker.Broker, renew func()) {
	t.Helper()
	before, ends := stats(b).Reconnects, time.Time{}
	eventually(t, "the link is up again", func() bool {
		if stats(b).Reconnects > before {
			return true
		}
		if now := time.Now(); now.After(ends) {
			renew()
			s.Proxy.Cut()
			ends = now.Add(briefly)
		}
		return false
	})
}
