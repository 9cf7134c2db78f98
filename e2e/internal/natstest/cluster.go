package natstest

import (
	"fmt"
	"net/url"
	"strconv"
	"testing"

	"github.com/go-signet/signet/e2e/internal/proxy"
	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is a number of servers that are one NATS, and with JetStream hold streams of
// as many replicas.
type Cluster struct {
	Members []*Server
	t       testing.TB
}

// StartCluster runs n members and waits until all serve.
func StartCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	conf := newConfig(opts)
	c := &Cluster{t: t}
	var routes []*url.URL
	for i := range n {
		s := newServer(t, fmt.Sprintf("nats-%d", i), conf)
		s.routes = proxy.New(t, "")
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: s.routes.Addr()})
		c.Members = append(c.Members, s)
	}
	for _, s := range c.Members {
		s.opts.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, Advertise: s.routes.Addr(), PoolSize: -1}
		s.opts.Cluster.Compression.Mode = server.CompressionOff
		for _, r := range routes {
			if r.Host != s.routes.Addr() {
				s.opts.Routes = append(s.opts.Routes, r)
			}
		}
		s.launch()
	}
	c.Ready()
	return c
}

// Ready waits until all living members know each other, and with JetStream until they
// have a leader and are up to date.
func (c *Cluster) Ready() {
	c.t.Helper()
	alive := 0
	for _, s := range c.Members {
		if s.running != nil {
			alive++
		}
	}
	eventually(c.t, "the cluster", func() bool {
		leader := false
		for _, s := range c.Members {
			if s.running == nil {
				continue
			}
			if s.running.NumRoutes() < alive-1 {
				return false
			}
			if s.conf.jetStream && !s.running.JetStreamIsCurrent() {
				return false
			}
			leader = leader || s.running.JetStreamIsLeader()
		}
		return leader || !c.Members[0].conf.jetStream
	})
}

// Addrs are the addresses of all members for clients.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.Members {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// StreamLeader waits until a living member leads the stream, and returns it.
func (c *Cluster) StreamLeader(stream string) *Server {
	c.t.Helper()
	var leader *Server
	eventually(c.t, "a leader of the stream "+strconv.Quote(stream), func() bool {
		for _, s := range c.Members {
			if s.running != nil && s.running.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}
