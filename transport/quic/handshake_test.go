package quic_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// countingCache is a session cache that is never given anything.
type countingCache struct{ puts atomic.Int64 }

func (c *countingCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *countingCache) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.puts.Add(1)
	}
}

// checkHandshake tells whether what was negotiated is what the package promises.
func checkHandshake(t *testing.T, cs quicgo.ConnectionState) {
	t.Helper()
	if cs.TLS.Version != tls.VersionTLS13 {
		t.Errorf("TLS version %#x", cs.TLS.Version)
	}
	if cs.TLS.CurveID != tls.X25519MLKEM768 {
		t.Errorf("key exchange %v", cs.TLS.CurveID)
	}
	if cs.TLS.NegotiatedProtocol != "signet/1" {
		t.Errorf("ALPN %q", cs.TLS.NegotiatedProtocol)
	}
	if cs.TLS.DidResume || cs.Used0RTT {
		t.Errorf("resumed %v, 0-RTT %v", cs.TLS.DidResume, cs.Used0RTT)
	}
	if cs.TLS.ServerName != "" {
		t.Errorf("server name %q on the wire", cs.TLS.ServerName)
	}
	if len(cs.TLS.PeerCertificates) == 0 {
		t.Error("no certificate of the peer")
	}
}

// TestHandshakeOfListener: a listener negotiates TLS 1.3 with a post-quantum key
// exchange and gives out nothing to resume with.
func TestHandshakeOfListener(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	var cache countingCache
	conf := f.tlsConfig("caller")
	conf.ClientSessionCache = &cache
	for range 3 {
		c := dialRaw(t, l.Addr(), conf, &quicgo.Config{TokenStore: quicgo.NewLRUTokenStore(1, 1)})
		c.mustEcho("so that a ticket would have arrived")
		checkHandshake(t, c.ConnectionState())
		if err := c.CloseWithError(0, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := cache.puts.Load(); n != 0 {
		t.Errorf("%d session tickets", n)
	}
}

// TestHandshakeOfClient: the same of one who dials, even at a server that gives
// out tickets and would take 0-RTT.
func TestHandshakeOfClient(t *testing.T) {
	f := newFleet(t)
	hellos := make(chan *tls.ClientHelloInfo, 10)
	states := make(chan quicgo.ConnectionState, 10)
	conf := f.tlsConfig("greeter")
	server := conf.Clone()
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		hellos <- hello
		return server, nil
	}
	l, err := quicgo.ListenAddr("127.0.0.1:0", conf, &quicgo.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			states <- conn.ConnectionState()
			control(conn, usualReady)
			go echoRaw(conn, func(s *quicgo.Stream) { _, _ = s.Write(frame(nil, []byte("hi"))) })
		}
	}()
	for range 3 {
		// A transport each, so that each makes a connection of its own.
		mustEcho(t, dial(t, f.transport("caller"), l.Addr().String()), call("greeter", "hi"))
		hello := <-hellos
		if hello.ServerName != "" || len(hello.SupportedVersions) != 1 || hello.SupportedVersions[0] != tls.VersionTLS13 {
			t.Errorf("server name %q, versions %#x", hello.ServerName, hello.SupportedVersions)
		}
		if len(hello.SupportedProtos) != 1 {
			t.Errorf("protocols %q", hello.SupportedProtos)
		}
		checkHandshake(t, <-states)
	}
}

// TestHastyClient: a client that does not wait for READY, and sends a request as
// soon as its own half of the handshake is over, is judged before anything it
// sent reaches a handler.
func TestHastyClient(t *testing.T) {
	f := newFleet(t)
	ca, strangers := newOutside(t, "shop.internal"), newFleet(t)
	revoked := f.issue("revoked")
	if err := f.authority.Revoke(revoked); err != nil {
		t.Fatal(err)
	}
	revokedCert := tlsOf(t, revoked)
	bare := f.tlsConfig("caller")
	bare.Certificates = nil
	with := func(c tls.Certificate) *tls.Config {
		conf := bare.Clone()
		conf.Certificates = []tls.Certificate{c}
		return conf
	}
	alpn := func(protos ...string) *tls.Config {
		conf := f.tlsConfig("caller")
		conf.NextProtos = protos
		return conf
	}
	stolen := tlsOf(t, f.issue("admin"))
	stolen.PrivateKey = tlsOf(t, f.issue("mallory")).PrivateKey // a leaf whose key one has not

	for name, test := range map[string]struct {
		conf   *tls.Config
		logged string
	}{
		"no certificate":           {bare, "certificate"},
		"of another CA":            {with(ca.certificate("caller", nil)), "unknown authority"},
		"of another trust domain":  {with(newOutside(t, "evil.internal").certificate("caller", nil)), ""},
		"of a namesake fleet":      {strangers.tlsConfig("caller"), "unknown authority"},
		"expired":                  {with(ca.certificate("caller", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), ""},
		"revoked":                  {with(revokedCert), "revoked"},
		"not authorized":           {f.tlsConfig("unwelcome"), "not on the list"},
		"protocol of another kind": {alpn("h3", "http/1.1"), "application protocol"},
		"protocol of a version":    {alpn("signet/2", "signet/10", "signet/"), "application protocol"},
		"key of another":           {with(stolen), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newTestLogger(t)
			rec := newRecorder()
			l := serve(t, f.transport("greeter", transport.Logger(log), quic.Authorize(func(p identity.Peer) error {
				if p.Service == "unwelcome" {
					return errors.New("not on the list")
				}
				return nil
			})), rec.handler)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			conn, err := quicgo.DialAddrEarly(ctx, l.Addr(), test.conf, nil)
			if err == nil {
				defer conn.CloseWithError(0, "")
				for range 3 {
					if s, err := conn.OpenStream(); err == nil {
						_, _ = s.Write(onStream(frame(coded(3, "greeter"), []byte("hasty"))))
						_ = s.Close()
					}
				}
				_, err = conn.AcceptUniStream(ctx)
			}
			if err == nil {
				t.Fatal("the client was accepted")
			}
			if test.logged != "" {
				eventually(t, "the cause is logged", func() bool { return log.contains(test.logged) })
			}
			if n, messages := rec.seen(); n != 0 || len(messages) != 0 {
				t.Errorf("the handler ran %d times and got %v", n, messages)
			}
		})
	}
	t.Run("member", func(t *testing.T) {
		rec := newRecorder()
		l := serve(t, f.transport("greeter"), rec.handler)
		conn, err := quicgo.DialAddrEarly(t.Context(), l.Addr(), f.tlsConfig("caller"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		s, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Write(onStream(frame(nil, []byte("hasty"))))
		_ = s.Close()
		if err := rec.end(t); err != io.EOF {
			t.Error(err)
		}
		if _, messages := rec.seen(); len(messages) != 1 {
			t.Errorf("got %v", messages)
		}
	})
}

func tlsOf(t *testing.T, id *identity.Identity) tls.Certificate {
	t.Helper()
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return *cert
}

// TestExpiredSelf: with a certificate of its own that has expired, a side says so
// instead of letting the other one find out.
func TestExpiredSelf(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	id := f.issue("caller", identity.ValidFor(time.Second))
	tr := newTransport(t, quic.Identity(id))
	within(t, 10*time.Second, "the end of its validity", func() {
		<-time.After(time.Until(id.Peer().Certificate.NotAfter.Add(time.Second)))
	})
	_, err := tr.Dial(l.Addr())
	if !errors.Is(err, identity.ErrExpired) || !strings.Contains(err.Error(), "renew") {
		t.Errorf("Dial: got %v", err)
	}
	other, err := tr.Listen("127.0.0.1:0")
	if err == nil {
		_ = other.Close()
	}
	if !errors.Is(err, identity.ErrExpired) || !strings.Contains(err.Error(), "renew") {
		t.Errorf("Listen: got %v", err)
	}
}

// TestUnknownVersion: a packet of a QUIC version that does not exist is answered
// with the ones that do, and makes no connection.
func TestUnknownVersion(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	to, err := net.ResolveUDPAddr("udp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 1200)
	copy(hello, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	if _, err := pc.WriteTo(hello, to); err != nil {
		t.Fatal(err)
	}
	_ = pc.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 1500)
	n, _, err := pc.ReadFrom(answer)
	if err != nil || n < 7 || answer[0]&0x80 == 0 || string(answer[1:5]) != "\x00\x00\x00\x00" {
		t.Fatalf("got %x, %v, want a Version Negotiation packet", answer[:n], err)
	}
	mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
}
