package etcdtest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startup is how long a server or a cluster may take to serve.
const startup = 60 * time.Second

// Option changes how servers are started.
type Option func(*config)

type config struct {
	authority *identity.Authority
	service   string
	dns       []string
	anonymous bool
}

// TLS makes clients need TLS and a certificate of the authority. The servers are
// the service "etcd" of its trust domain, with the DNS name "localhost" for clients
// that compare host names.
func TLS(a *identity.Authority) Option {
	return func(c *config) { c.authority = a }
}

// Service makes the servers another service than "etcd".
func Service(name string) Option {
	return func(c *config) { c.service = name }
}

// DNSName replaces "localhost" in the servers' certificate.
func DNSName(name string) Option {
	return func(c *config) { c.dns = []string{name} }
}

// AnonymousClients lets TLS clients in without a certificate.
func AnonymousClients() Option {
	return func(c *config) { c.anonymous = true }
}

// Server is one etcd server, or one member of a cluster.
type Server struct {
	// Proxy is between the clients and the server.
	Proxy *Proxy

	t       testing.TB
	conf    *embed.Config
	peers   *Proxy // between the other members and this one
	running *embed.Etcd
	secure  bool
	cluster *Cluster
}

// Start runs a single server.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return StartCluster(t, 1, opts...).Members[0]
}

// Addr is the address for clients, host:port.
func (s *Server) Addr() string { return s.Proxy.Addr() }

// Kill stops the server. Its data stay for Restart.
func (s *Server) Kill() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	// Clients are cut off first: etcd would wait for the ends of their watches.
	s.Proxy.Refuse()
	s.running.Close()
	s.running = nil
}

// Restart starts a killed server again and waits until it serves.
func (s *Server) Restart() {
	s.t.Helper()
	s.launch()
	s.ready()
}

// RestartSoon starts a killed server again and does not wait until it serves, which it
// may do only when others have started too.
func (s *Server) RestartSoon() { s.t.Helper(); s.launch() }

// launch starts the server without waiting for a quorum.
func (s *Server) launch() {
	s.t.Helper()
	e, err := embed.StartEtcd(s.conf)
	if err != nil {
		s.t.Fatalf("start etcd: %v", err)
	}
	s.running = e
	// A restarted member knows its cluster from its data.
	s.conf.ClusterState = embed.ClusterStateFlagExisting
	s.peers.SetTarget(e.Peers[0].Addr().String())
	s.peers.Pass()
	s.Proxy.SetTarget(e.Clients[0].Addr().String())
	s.Proxy.Pass()
}

func (s *Server) ready() {
	s.t.Helper()
	select {
	case <-s.running.Server.ReadyNotify():
	case err := <-s.running.Err():
		s.t.Fatalf("etcd ended while starting: %v", err)
	case <-time.After(startup):
		s.t.Fatalf("etcd does not serve within %v", startup)
	}
}

func newServer(t testing.TB, name string, c config) *Server {
	t.Helper()
	dir := t.TempDir()
	conf := embed.NewConfig()
	conf.Name = name
	conf.Dir = filepath.Join(dir, "data")
	conf.TickMs, conf.ElectionMs = 50, 500
	conf.UnsafeNoFsync = true
	conf.BcryptCost = 4
	conf.EnableGRPCGateway = false
	conf.WarningApplyDuration = startup
	conf.WarningUnaryRequestDuration = startup
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())

	s := &Server{t: t, conf: conf, secure: c.authority != nil}
	s.Proxy = NewProxy(t, "")
	s.peers = NewProxy(t, "")
	scheme := "http"
	if s.secure {
		scheme = "https"
		s.certify(filepath.Join(dir, "identity"), c)
	}
	any := "127.0.0.1:0" // the proxies have the ports that stay
	conf.ListenClientUrls = []url.URL{{Scheme: scheme, Host: any}}
	conf.AdvertiseClientUrls = []url.URL{{Scheme: scheme, Host: s.Proxy.Addr()}}
	conf.ListenPeerUrls = []url.URL{{Scheme: "http", Host: any}}
	conf.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: s.peers.Addr()}}
	t.Cleanup(s.Kill)
	return s
}

// certify gives the server a certificate, and tells it whose clients to let in.
func (s *Server) certify(dir string, c config) {
	s.t.Helper()
	id, err := c.authority.Issue(c.service, identity.DNSNames(c.dns...))
	if err != nil {
		s.t.Fatal(err)
	}
	defer id.Close()
	if err := id.Save(dir); err != nil {
		s.t.Fatal(err)
	}
	info := &s.conf.ClientTLSInfo
	info.CertFile, info.KeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if !c.anonymous {
		info.TrustedCAFile, info.ClientCertAuth = filepath.Join(dir, "ca.crt"), true
	}
}

func newConfig(opts []Option) config {
	c := config{service: "etcd", dns: []string{"localhost"}}
	for _, o := range opts {
		o(&c)
	}
	return c
}

func memberName(i int) string { return fmt.Sprintf("member-%d", i) }
