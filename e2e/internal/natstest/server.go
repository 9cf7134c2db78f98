package natstest

import (
	"crypto/tls"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/proxy"
	"github.com/go-signet/signet/identity"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startup is how long a server or a cluster may take to serve.
const startup = 60 * time.Second

// Server is one NATS server, or one member of a cluster.
type Server struct {
	// Proxy is between the clients and the server.
	Proxy *proxy.Proxy

	t       testing.TB
	opts    *server.Options
	routes  *proxy.Proxy // between the other members and this one
	running *server.Server
	id      *identity.Identity // of the server, if there is TLS
	cert    atomic.Pointer[tls.Certificate]
	admin   *identity.Identity // of the harness's clients, if there is TLS
	conf    *config
}

// Start runs a single server and waits until it serves.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := newServer(t, "nats-0", newConfig(opts))
	s.launch()
	s.ready()
	return s
}

// Addr is the address for clients, host:port.
func (s *Server) Addr() string { return s.Proxy.Addr() }

// Running is the server as nats-server has it, nil after Kill.
func (s *Server) Running() *server.Server { return s.running }

// Kill stops the server. Its store stays for Restart.
func (s *Server) Kill() {
	s.t.Helper()
	if s.running == nil {
		return
	}
	s.Proxy.Refuse()
	if s.routes != nil {
		s.routes.Refuse()
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Restart starts a killed server again and waits until it serves. change, where it is
// not nil, may change its options first.
func (s *Server) Restart(change func(*server.Options)) {
	s.t.Helper()
	if change != nil {
		change(s.opts)
	}
	s.launch()
	s.ready()
}

// Reload changes the options of a server that runs, which ends the connections of those
// whom it does not know any more.
func (s *Server) Reload(change func(*server.Options)) {
	s.t.Helper()
	change(s.opts)
	if err := s.running.ReloadOptions(s.opts.Clone()); err != nil {
		s.t.Fatalf("reload nats: %v", err)
	}
}

// Client returns a plain client of the server that goes past its proxy. With TLS it is
// the service "root", and with Users the first of them. It is closed at the end of the
// test, and does not reconnect.
func (s *Server) Client(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	all := []nats.Option{nats.NoReconnect(), nats.Timeout(startup)}
	if len(s.conf.users) > 0 && !s.conf.mapped {
		all = append(all, nats.UserInfo(s.conf.users[0].Name, s.conf.users[0].Password))
	}
	if s.conf.operator != nil {
		all = append(all, nats.UserCredentialBytes(s.conf.operator.Credentials(0).File))
	}
	if s.conf.token != "" {
		all = append(all, nats.Token(s.conf.token))
	}
	if s.admin != nil {
		all = append(all, nats.Secure(s.clientTLS()))
	}
	nc, err := nats.Connect("nats://"+s.running.Addr().String(), append(all, opts...)...)
	if err != nil {
		s.t.Fatalf("connect to nats: %v", err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// launch starts the server and lets the proxies pass.
func (s *Server) launch() {
	s.t.Helper()
	opts := s.opts.Clone()
	running, err := server.NewServer(opts)
	if err != nil {
		s.t.Fatalf("start nats: %v", err)
	}
	running.Start()
	if !running.ReadyForConnections(startup) {
		s.t.Fatalf("nats does not serve within %v", startup)
	}
	s.running = running
	if s.routes != nil {
		s.routes.SetTarget(running.ClusterAddr().String())
		s.routes.Pass()
	}
	s.Proxy.SetTarget(running.Addr().String())
	s.Proxy.Pass()
}

// ready waits for JetStream, which a server that restarts enables before it is current.
func (s *Server) ready() {
	s.t.Helper()
	if !s.conf.jetStream || s.routes != nil {
		return
	}
	eventually(s.t, "JetStream", s.running.JetStreamEnabled)
}

func newServer(t testing.TB, name string, c *config) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{t: t, conf: c, Proxy: proxy.New(t, "")}
	s.opts = &server.Options{
		ServerName:             name,
		Host:                   "127.0.0.1",
		Port:                   server.RANDOM_PORT, // the proxies have the ports that stay
		NoLog:                  true,
		NoSigs:                 true,
		MaxPayload:             c.maxPayload,
		DisableJetStreamBanner: true,
		ClientAdvertise:        s.Proxy.Addr(),
		Authorization:          c.token,
	}
	if c.jetStream {
		s.opts.JetStream = true
		s.opts.StoreDir = filepath.Join(dir, "store")
		s.opts.SyncInterval = time.Hour // nothing here outlives the machine
	}
	for _, u := range c.users {
		s.opts.Users = append(s.opts.Users, u.server())
	}
	for _, key := range c.nkeys {
		s.opts.Nkeys = append(s.opts.Nkeys, &server.NkeyUser{Nkey: key})
	}
	if c.operator != nil {
		c.operator.rule(s.opts)
	}
	if c.authority != nil {
		s.certify()
	}
	t.Cleanup(s.Kill)
	return s
}

// certify gives the server a certificate, and tells it whose clients to let in.
func (s *Server) certify() {
	s.t.Helper()
	c := s.conf
	s.Renew()
	s.admin = s.issue("root")
	s.opts.TLS, s.opts.TLSTimeout = true, startup.Seconds()
	s.opts.TLSConfig = &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil },
	}
	if !c.anonymous {
		s.opts.TLSVerify, s.opts.TLSMap = true, c.mapped
		s.opts.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		s.opts.TLSConfig.ClientCAs = s.id.TrustPool()
	}
}

// Renew gives the server, which has TLS, a new certificate for connections to come.
func (s *Server) Renew(opts ...identity.IssueOption) {
	s.t.Helper()
	s.id = s.issue(s.conf.service, append(opts, identity.DNSNames(s.conf.dns...))...)
	cert, err := s.id.TLSCertificate()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cert.Store(cert)
}

func (s *Server) issue(service string, opts ...identity.IssueOption) *identity.Identity {
	s.t.Helper()
	id, err := s.conf.authority.Issue(service, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = id.Close() })
	return id
}

// Identity is the server's own, for a test to revoke; nil without TLS.
func (s *Server) Identity() *identity.Identity { return s.id }

func (s *Server) clientTLS() *tls.Config {
	s.t.Helper()
	cert, err := s.admin.TLSCertificate()
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*cert},
		// The harness knows which server it has started.
		InsecureSkipVerify: true,
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(startup)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, startup)
		}
	}
}
