package quic_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"github.com/go-signet/signet/internal/leaktest"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/transport"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, leaktest.Selector()...)
}

// fleet is an authority and what it issues.
type fleet struct {
	t         *testing.T
	authority *identity.Authority
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{t, a}
}

func (f *fleet) issue(service string, opts ...identity.IssueOption) *identity.Identity {
	f.t.Helper()
	id, err := f.authority.Issue(service, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = id.Close() })
	return id
}

// transport makes one for a service of the fleet; it is closed at the end.
func (f *fleet) transport(service string, opts ...transport.Option) transport.Transport {
	f.t.Helper()
	return newTransport(f.t, append(opts, quic.Identity(f.issue(service)))...)
}

func newTransport(t *testing.T, opts ...transport.Option) transport.Transport {
	t.Helper()
	tr := quic.NewTransport(append([]transport.Option{transport.Logger(newTestLogger(t))}, opts...)...)
	t.Cleanup(func() {
		if err := tr.(io.Closer).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return tr
}

// serve listens on a free port and runs handler for each socket.
func serve(t *testing.T, tr transport.Transport, handler func(transport.Socket)) transport.Listener {
	t.Helper()
	return serveAt(t, tr, "127.0.0.1:0", handler)
}

func serveAt(t *testing.T, tr transport.Transport, addr string, handler func(transport.Socket), opts ...transport.ListenOption) transport.Listener {
	t.Helper()
	l, err := tr.Listen(addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Accept(handler) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the listener: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Accept: %v", err)
		}
	})
	return l
}

// echo answers every message with itself.
func echo(s transport.Socket) {
	for {
		var m transport.Message
		if s.Recv(&m) != nil || s.Send(&m) != nil {
			return
		}
	}
}

// called is a handler that must not run, or must.
type called struct {
	mu sync.Mutex
	n  int
}

func (c *called) handler(s transport.Socket) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	echo(s)
}

func (c *called) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func dial(t *testing.T, tr transport.Transport, addr string, opts ...transport.DialOption) transport.Client {
	t.Helper()
	c, err := tr.Dial(addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// call is a go-micro request, as far as the transport sees one.
func call(service, body string) *transport.Message {
	return &transport.Message{
		Header: map[string]string{"Micro-Service": service, "Micro-Endpoint": "Greeter.Hello", "Micro-ID": "1"},
		Body:   []byte(body),
	}
}

func roundTrip(c transport.Client, m *transport.Message) (transport.Message, error) {
	var got transport.Message
	if err := c.Send(m); err != nil {
		return got, fmt.Errorf("send: %w", err)
	}
	if err := c.Recv(&got); err != nil {
		return got, fmt.Errorf("recv: %w", err)
	}
	return got, nil
}

// mustEcho makes sure that c works.
func mustEcho(t *testing.T, c transport.Client, m *transport.Message) {
	t.Helper()
	got, err := roundTrip(c, m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Body) != string(m.Body) {
		t.Fatalf("got body %q, want %q", got.Body, m.Body)
	}
}

// within runs f and fails the test if it takes longer than a test should wait.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s takes longer than %v", what, d)
	}
}

// eventually polls for what another goroutine or process brings about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

// testLogger keeps what is logged, so that tests can look at it.
type testLogger struct {
	logger.Logger
	mu    sync.Mutex
	lines []string
}

func newTestLogger(t *testing.T) *testLogger {
	return &testLogger{Logger: logger.NewLogger(logger.WithOutput(io.Discard))}
}

func (l *testLogger) Logf(_ logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *testLogger) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

// outside is an authority whose certificates tests can spoil.
type outside struct {
	t  *testing.T
	ca *keys.CA
}

func newOutside(t *testing.T, domain string) *outside {
	t.Helper()
	ca, err := keys.NewCA(domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &outside{t, ca}
}

func (o *outside) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(o.ca.Cert)
	return p
}

func (o *outside) certificate(service string, modify func(*x509.Certificate)) tls.Certificate {
	o.t.Helper()
	leaf, key, err := o.ca.Issue(keys.Request{Service: service, Modify: modify})
	if err != nil {
		o.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// tlsConfig is what a user would pass to transport.TLSConfig.
func (o *outside) tlsConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: o.pool(), ClientCAs: o.pool()}
}
