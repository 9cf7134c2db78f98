package etcdtest

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Cluster is a number of servers that hold one set of data.
type Cluster struct {
	Members []*Server

	t     testing.TB
	admin *identity.Identity // of the harness's clients, if there is TLS
}

// StartCluster runs n members and waits until all serve.
func StartCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	conf := newConfig(opts)
	c := &Cluster{t: t}
	var initial []string
	for i := range n {
		s := newServer(t, memberName(i), conf)
		initial = append(initial, s.conf.Name+"=http://"+s.peers.Addr())
		c.Members = append(c.Members, s)
	}
	if conf.authority != nil {
		id, err := conf.authority.Issue("root")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = id.Close() })
		c.admin = id
	}
	for _, s := range c.Members {
		s.cluster = c
		s.conf.InitialCluster = strings.Join(initial, ",")
		s.launch()
	}
	c.Ready()
	return c
}

// Ready waits until all living members serve.
func (c *Cluster) Ready() {
	c.t.Helper()
	for _, s := range c.Members {
		if s.running != nil {
			s.ready()
		}
	}
}

// Addrs are the addresses of all members for clients.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.Members {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Leader waits until the living members agree on a leader, and returns it.
func (c *Cluster) Leader() *Server {
	c.t.Helper()
	deadline := time.After(startup)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := c.agreed(); s != nil {
			return s
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("no leader within %v", startup)
		}
	}
}

// agreed returns the leader that all living members know, or nil.
func (c *Cluster) agreed() *Server {
	var leader *Server
	for _, s := range c.Members {
		if s.running == nil {
			continue
		}
		known := s.running.Server.Leader()
		for _, l := range c.Members {
			if l.running != nil && l.running.Server.MemberID() == known && (leader == nil || leader == l) {
				leader, known = l, 0
				break
			}
		}
		if known != 0 || leader == nil {
			return nil
		}
	}
	return leader
}

// Follower returns a living member that does not lead.
func (c *Cluster) Follower() *Server {
	c.t.Helper()
	leader := c.Leader()
	for _, s := range c.Members {
		if s != leader && s.running != nil {
			return s
		}
	}
	c.t.Fatal("no living follower")
	return nil
}

// Client returns a client of the server that goes past its proxy. With TLS it is
// the service "root". It is closed at the end of the test, and of no use once the
// server was killed.
func (s *Server) Client() *clientv3.Client {
	s.t.Helper()
	return s.ClientAs("", "")
}

// ClientAs is Client for a user with a password.
func (s *Server) ClientAs(user, password string) *clientv3.Client {
	s.t.Helper()
	conf := clientv3.Config{
		Endpoints:   []string{s.running.Clients[0].Addr().String()},
		Username:    user,
		Password:    password,
		DialTimeout: startup,
		Logger:      zap.NewNop(),
	}
	if s.secure {
		cert, err := s.cluster.admin.TLSCertificate()
		if err != nil {
			s.t.Fatal(err)
		}
		conf.TLS = &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{*cert},
			// The host name does not matter here, so that every server can be managed.
			InsecureSkipVerify: true,
			VerifyConnection: func(cs tls.ConnectionState) error {
				_, _, err := s.cluster.admin.Verify(cs.PeerCertificates)
				return err
			},
		}
	}
	c, err := clientv3.New(conf)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Compact forgets the history before the present revision, which it returns.
func (s *Server) Compact() int64 {
	s.t.Helper()
	c := s.Client()
	now, err := c.Get(s.t.Context(), "compact")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Compact(s.t.Context(), now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		s.t.Fatal(err)
	}
	return now.Header.Revision
}
