package quic_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
	"go-micro.dev/v4/util/cmd"
)

// TestRefused: a configuration that is not both complete and secure fails Dial
// and Listen, with an error that names the cause.
func TestRefused(t *testing.T) {
	f := newFleet(t)
	ca := newOutside(t, "shop.internal")
	good := ca.tlsConfig(ca.certificate("greeter", nil))
	with := func(change func(*tls.Config)) transport.Option {
		c := good.Clone()
		change(c)
		return transport.TLSConfig(c)
	}
	for name, test := range map[string]struct {
		opts []transport.Option
		want error
		says string
		half string // "dial" or "listen" if the other may work
	}{
		"nothing":          {nil, quic.ErrNoIdentity, "SIGNET_IDENTITY", ""},
		"Secure alone":     {[]transport.Option{transport.Secure(true)}, quic.ErrNoIdentity, "SIGNET_IDENTITY", ""},
		"nil identity":     {[]transport.Option{quic.Identity(nil)}, quic.ErrNoIdentity, "quic.Identity(nil)", ""},
		"nil Authorize":    {[]transport.Option{quic.Identity(f.issue("greeter")), quic.Authorize(nil)}, quic.ErrInsecure, "quic.Authorize(nil)", ""},
		"two identities":   {[]transport.Option{quic.Identity(f.issue("greeter")), transport.TLSConfig(good)}, quic.ErrInsecure, "keep one", ""},
		"TLS 1.2 at most":  {[]transport.Option{with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })}, quic.ErrInsecure, "MaxVersion", ""},
		"skip verify":      {[]transport.Option{with(func(c *tls.Config) { c.InsecureSkipVerify = true })}, quic.ErrInsecure, "InsecureSkipVerify", ""},
		"no root CAs":      {[]transport.Option{with(func(c *tls.Config) { c.RootCAs = nil })}, quic.ErrInsecure, "RootCAs", "listen"},
		"no client CAs":    {[]transport.Option{with(func(c *tls.Config) { c.ClientCAs = nil })}, quic.ErrInsecure, "ClientCAs", "dial"},
		"no certificate":   {[]transport.Option{with(func(c *tls.Config) { c.Certificates = nil })}, quic.ErrNoIdentity, "certificate", ""},
		"client auth none": {[]transport.Option{with(func(c *tls.Config) { c.ClientAuth = tls.NoClientCert; c.ClientCAs = nil })}, quic.ErrInsecure, "ClientCAs", "dial"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SIGNET_IDENTITY", "")
			tr := newTransport(t, test.opts...)
			check := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: got %v, want %v saying %q", what, err, test.want, test.says)
				}
			}
			if test.half != "listen" {
				l, err := tr.Listen("127.0.0.1:0")
				if err == nil {
					_ = l.Close()
				}
				check("Listen", err)
			}
			if test.half != "dial" {
				_, err := tr.Dial("127.0.0.1:1")
				check("Dial", err)
			}
		})
	}
	t.Run("WithInsecureSkipVerify", func(t *testing.T) {
		l := serve(t, f.transport("greeter"), echo)
		if _, err := f.transport("caller").Dial(l.Addr(), transport.WithInsecureSkipVerify(true)); !errors.Is(err, quic.ErrInsecure) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("SIGNET_IDENTITY names nothing", func(t *testing.T) {
		t.Setenv("SIGNET_IDENTITY", filepath.Join(t.TempDir(), "nowhere"))
		_, err := newTransport(t).Listen("127.0.0.1:0")
		if !errors.Is(err, quic.ErrNoIdentity) || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("client auth is always required", func(t *testing.T) {
		lax := good.Clone()
		lax.ClientAuth = tls.NoClientCert
		var handler called
		l := serve(t, newTransport(t, transport.TLSConfig(lax)), handler.handler)
		bare := good.Clone()
		bare.Certificates = nil
		bare.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
		if _, err := newTransport(t, transport.TLSConfig(bare)).Dial(l.Addr()); err == nil || handler.times() != 0 {
			t.Errorf("a client without a certificate got in: %v", err)
		}
	})
	t.Run("GetConfigForClient is hardened too", func(t *testing.T) {
		conf := good.Clone()
		conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := good.Clone()
			c.ClientAuth = tls.NoClientCert
			c.NextProtos = []string{"http/1.1"}
			return c, nil
		}
		var handler called
		l := serve(t, newTransport(t, transport.TLSConfig(conf)), handler.handler)
		bare := good.Clone()
		bare.Certificates = nil
		bare.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
		if _, err := newTransport(t, transport.TLSConfig(bare)).Dial(l.Addr()); err == nil || handler.times() != 0 {
			t.Errorf("a client without a certificate got in: %v", err)
		}
		mustEcho(t, dial(t, newTransport(t, transport.TLSConfig(good)), l.Addr()), call("greeter", "hi"))
	})
}

// TestFromEnvironment: MICRO_TRANSPORT=quic and SIGNET_IDENTITY are enough.
func TestFromEnvironment(t *testing.T) {
	f := newFleet(t)
	dir := filepath.Join(t.TempDir(), "greeter")
	if err := f.issue("greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGNET_IDENTITY", dir)
	newFromName := cmd.DefaultTransports["quic"]
	if newFromName == nil {
		t.Fatal("not registered")
	}
	tr := newFromName(transport.Secure(true))
	defer tr.(interface{ Close() error }).Close()
	if tr.String() != "quic" {
		t.Errorf("String() = %q", tr.String())
	}
	l := serve(t, tr, echo)
	mustEcho(t, dial(t, f.transport("caller"), l.Addr()), call("greeter", "hi"))
	_ = os.Unsetenv("SIGNET_IDENTITY")
}

// TestTLSConfigUntouched: the user's configuration is never written to.
func TestTLSConfigUntouched(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	conf := ca.tlsConfig(ca.certificate("greeter", nil))
	before := conf.Clone()
	tr := newTransport(t, transport.TLSConfig(conf))
	mustEcho(t, dial(t, tr, serve(t, tr, echo).Addr()), call("greeter", "hi"))
	if !reflect.DeepEqual(exported(conf), exported(before)) {
		t.Errorf("changed:\n%v\n%v", exported(before), exported(conf))
	}
}

// exported are the fields that a user sets, but for functions.
func exported(c *tls.Config) map[string]any {
	fields := map[string]any{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Type.Kind() != reflect.Func && f.Type.Kind() != reflect.Interface {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	return fields
}

// TestServerTLSConfig: go-micro's server.TLSConfig passes through Init, whose
// error it drops; a bad configuration must then fail Listen.
func TestServerTLSConfig(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	good := ca.tlsConfig(ca.certificate("greeter", nil))
	t.Run("good", func(t *testing.T) {
		tr := newTransport(t)
		server.TLSConfig(good)(&server.Options{Transport: tr})
		mustEcho(t, dial(t, tr, serve(t, tr, echo).Addr()), call("greeter", "hi"))
	})
	t.Run("bad", func(t *testing.T) {
		bad := good.Clone()
		bad.MaxVersion = tls.VersionTLS12
		tr := newTransport(t)
		server.TLSConfig(bad)(&server.Options{Transport: tr})
		if _, err := tr.Listen("127.0.0.1:0"); !errors.Is(err, quic.ErrInsecure) {
			t.Errorf("got %v", err)
		}
	})
}

// TestSelfVerifyingTLSConfig: configurations as go-spiffe makes them, which
// verify in a callback, are accepted; what they refuse stays refused.
func TestSelfVerifyingTLSConfig(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	refuse := errors.New("not in the bundle")
	conf := func(service string, verdict error) *tls.Config {
		return &tls.Config{
			Certificates:       []tls.Certificate{ca.certificate(service, nil)},
			ClientAuth:         tls.RequireAnyClientCert,
			InsecureSkipVerify: true,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				if len(raw) == 0 {
					return errors.New("no certificate")
				}
				return verdict
			},
		}
	}
	l := serve(t, newTransport(t, transport.TLSConfig(conf("greeter", nil))), echo)
	mustEcho(t, dial(t, newTransport(t, transport.TLSConfig(conf("caller", nil))), l.Addr()), call("greeter", "hi"))
	if _, err := newTransport(t, transport.TLSConfig(conf("caller", refuse))).Dial(l.Addr()); err == nil || !strings.Contains(err.Error(), refuse.Error()) {
		t.Errorf("got %v", err)
	}
	strict := serve(t, newTransport(t, transport.TLSConfig(conf("greeter", refuse))), echo)
	if _, err := newTransport(t, transport.TLSConfig(conf("caller", nil))).Dial(strict.Addr()); err == nil {
		t.Error("the server's own verification was ignored")
	}
}

// TestPinning: a plain configuration may check more in VerifyPeerCertificate,
// and gets the verified chains there as crypto/tls would give them.
func TestPinning(t *testing.T) {
	ca := newOutside(t, "shop.internal")
	l := serve(t, newTransport(t, transport.TLSConfig(ca.tlsConfig(ca.certificate("greeter", nil)))), echo)
	pin := func(verdict error) *tls.Config {
		conf := ca.tlsConfig(ca.certificate("caller", nil))
		conf.VerifyPeerCertificate = func(raw [][]byte, chains [][]*x509.Certificate) error {
			if len(raw) != 1 || len(chains) != 1 || !chains[0][1].Equal(ca.ca.Cert) {
				return errors.New("no verified chain")
			}
			return verdict
		}
		return conf
	}
	mustEcho(t, dial(t, newTransport(t, transport.TLSConfig(pin(nil))), l.Addr()), call("greeter", "hi"))
	if _, err := newTransport(t, transport.TLSConfig(pin(errors.New("not the pinned key")))).Dial(l.Addr()); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("got %v", err)
	}
}

// TestPacketConns: a transport works on sockets that the user brings.
func TestPacketConns(t *testing.T) {
	f := newFleet(t)
	listen := func() net.PacketConn {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return pc
	}
	pc, from := listen(), listen()
	l := serveAt(t, f.transport("greeter"), "ignored:0", echo, quic.ListenOn(pc))
	if l.Addr() != pc.LocalAddr().String() {
		t.Errorf("Addr() = %s, want %s", l.Addr(), pc.LocalAddr())
	}
	c := dial(t, f.transport("caller", quic.DialFrom(from)), l.Addr())
	mustEcho(t, c, call("greeter", "hi"))
	if c.Local() != from.LocalAddr().String() {
		t.Errorf("Local() = %s, want %s", c.Local(), from.LocalAddr())
	}
}

// TestSaveAndLoad keeps identity.Load honest for the transport: files work as
// memory does.
func TestSaveAndLoad(t *testing.T) {
	f := newFleet(t)
	dir := filepath.Join(t.TempDir(), "greeter")
	if err := f.issue("greeter").Save(dir); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	tr := newTransport(t, quic.Identity(id))
	mustEcho(t, dial(t, tr, serve(t, tr, echo).Addr()), call("greeter", "hi"))
}

// TestUnspecifiedAddress: what a listener on all addresses reports can be
// dialled, as over TCP.
func TestUnspecifiedAddress(t *testing.T) {
	f := newFleet(t)
	client := f.transport("caller")
	for _, addr := range []string{":0", "0.0.0.0:0", "127.0.0.1:0"} {
		l := serveAt(t, f.transport("greeter"), addr, echo)
		c := dial(t, client, l.Addr())
		mustEcho(t, c, call("greeter", "hi"))
		if c.Remote() != l.Addr() {
			t.Errorf("Remote() = %s, want what was dialled, %s", c.Remote(), l.Addr())
		}
	}
}

// TestDialFromTwice: a socket that earlier options gave away is not shared with
// later ones.
func TestDialFromTwice(t *testing.T) {
	f := newFleet(t)
	l := serve(t, f.transport("greeter"), echo)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := f.transport("caller", quic.DialFrom(pc))
	mustEcho(t, dial(t, client, l.Addr()), call("greeter", "one"))
	if err := client.Init(quic.Via("edge")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Dial(l.Addr()); err == nil || !strings.Contains(err.Error(), "DialFrom") {
		t.Errorf("got %v", err)
	}
}
