package nats

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/util/cmd"
)

func TestMain(m *testing.M) {
	leaktest.Main(m)
}

// clean empties the environment that the broker looks at.
func cleanEnv(t *testing.T) {
	for _, name := range []string{addressEnv, identity.EnvDir, identity.EnvGroupReadable} {
		t.Setenv(name, "")
	}
}

func newID(t *testing.T) *identity.Identity {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Issue("greeter")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = id.Close() })
	return id
}

func TestIsAmongTheBrokers(t *testing.T) {
	b := cmd.DefaultBrokers["nats"]()
	if _, ok := b.(*natsBroker); !ok || b.String() != "nats" {
		t.Errorf("got a %T, %q", b, b)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addrs []string
		env   string
		want  []string
	}{
		{"none", nil, "", []string{"nats://127.0.0.1:4222"}},
		{"empty", []string{"", ""}, "", []string{"nats://127.0.0.1:4222"}},
		{"without port", []string{"nats-1"}, "", []string{"nats://nats-1:4222"}},
		{"list", []string{"a:1, b:2", "nats://c/"}, "", []string{"nats://a:1", "nats://b:2", "nats://c:4222"}},
		{"IPv6", []string{"::1", "[::1]", "[::1]:5"}, "", []string{"nats://[::1]:4222", "nats://[::1]:4222", "nats://[::1]:5"}},
		{"environment", nil, "a,b:7", []string{"nats://a:4222", "nats://b:7"}},
		{"option before environment", []string{"a"}, "b", []string{"nats://a:4222"}},
		{"account", []string{"nats://us%40er:p%3Ass@a"}, "", []string{"nats://us%40er:p%3Ass@a:4222"}},
		{"token", []string{"token@a:1"}, "", []string{"nats://token@a:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(addressEnv, tt.env)
			parsed, err := parseAddresses(tt.addrs)
			var got []string
			for _, a := range parsed {
				got = append(got, a.url(false))
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	t.Setenv(addressEnv, "")
	for name, addr := range map[string]string{
		"scheme": "http://a", "websocket": "ws://a", "path": "nats://a/b", "no port": "nats://a:", "empty element": "a,,b",
		"empty account": "@a", "empty password": "secret:@a", "bad escape": "secret%zz@a",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAddresses([]string{addr})
			if !errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v, want %v", got, err, ErrAddress)
			}
		})
	}
}

// skipping is a dialer that does what TLS would have to do.
type skipping struct{ natsgo.CustomDialer }

func (skipping) SkipTLSHandshake() bool                { return true }
func (skipping) Dial(string, string) (net.Conn, error) { return nil, errors.New("not dialed") }

func TestConfigurationsRefused(t *testing.T) {
	id, closed := newID(t), newID(t)
	_ = closed.Close()
	away := broker.Addrs("127.0.0.1", "nats-1")
	for _, tt := range []struct {
		name string
		opts []broker.Option
		env  map[string]string
		want error
		init bool // Init reports it too
	}{
		{"Secure without anything", []broker.Option{broker.Secure(true)}, nil, ErrNoIdentity, false},
		{"tls:// without anything", []broker.Option{broker.Addrs("a", "tls://b")}, nil, ErrNoIdentity, false},
		{"Secure of nats.go without anything", []broker.Option{Use(natsgo.Secure())}, nil, ErrNoIdentity, false},
		{"nil identity", []broker.Option{Identity(nil)}, nil, ErrNoIdentity, false},
		{"closed identity", []broker.Option{Identity(closed)}, nil, ErrNoIdentity, false},
		{"identity in a directory that is none", []broker.Option{broker.Secure(true)}, map[string]string{identity.EnvDir: "/nonexistent"}, ErrNoIdentity, false},
		{"bad address", []broker.Option{broker.Addrs("a,,b")}, nil, ErrAddress, true},
		{"bad address in the environment", nil, map[string]string{addressEnv: "http://a"}, ErrAddress, true},
		{"user without password", []broker.Option{Auth("greeter", "")}, nil, ErrInvalid, true},
		{"password without user", []broker.Option{Auth("", "secret")}, nil, ErrInvalid, true},
		{"empty token", []broker.Option{Token("")}, nil, ErrInvalid, true},
		{"token and account", []broker.Option{Auth("greeter", "secret"), Token("secret")}, nil, ErrInvalid, true},
		{"password in clear", []broker.Option{Auth("greeter", "secret"), away}, nil, ErrInsecure, true},
		{"token in clear", []broker.Option{Token("secret"), away}, nil, ErrInsecure, true},
		{"account of an address in clear", []broker.Option{broker.Addrs("greeter:secret@nats-1")}, nil, ErrInsecure, true},
		{"account of one address, another is away", []broker.Option{broker.Addrs("greeter:secret@localhost", "nats-1")}, nil, ErrInsecure, true},
		{"account of nats.go in clear", []broker.Option{Use(natsgo.UserInfo("greeter", "secret")), away}, nil, ErrInsecure, true},
		{"account from a function in clear", []broker.Option{Use(natsgo.UserInfoHandler(func() (string, string) { return "greeter", "secret" })), away}, nil, ErrInsecure, true},
		{"token from a function in clear", []broker.Option{Use(natsgo.TokenHandler(func() string { return "secret" })), away}, nil, ErrInsecure, true},
		{"JWT in clear", []broker.Option{Use(natsgo.UserJWT(func() (string, error) { return "h.secret.s", nil }, func([]byte) ([]byte, error) { return nil, nil })), away}, nil, ErrInsecure, true},
		{"a secret key for a public one", []broker.Option{Use(natsgo.Nkey("Ssecret", func([]byte) ([]byte, error) { return nil, nil }))}, nil, ErrInvalid, true},
		{"a key for a JWT", []broker.Option{Identity(id), Use(natsgo.UserJWTAndSeed("secret", "secret"))}, nil, ErrInvalid, true},
		{"password in clear with a dialer", []broker.Option{Auth("greeter", "secret"), Use(natsgo.SetCustomDialer(skipping{}))}, nil, ErrInsecure, true},
		{"dialer that skips TLS", []broker.Option{Identity(id), Use(natsgo.SetCustomDialer(skipping{}))}, nil, ErrInsecure, true},
		{"InsecureSkipVerify", []broker.Option{broker.TLSConfig(&tls.Config{InsecureSkipVerify: true})}, nil, ErrInsecure, true},
		{"InsecureSkipVerify of nats.go", []broker.Option{Use(natsgo.Secure(&tls.Config{InsecureSkipVerify: true}))}, nil, ErrInsecure, true},
		{"TLS 1.1", []broker.Option{broker.TLSConfig(&tls.Config{MaxVersion: tls.VersionTLS11})}, nil, ErrInsecure, true},
		{"two tls.Configs", []broker.Option{broker.TLSConfig(&tls.Config{}), Use(natsgo.Secure(&tls.Config{}))}, nil, ErrInvalid, true},
		{"no server", []broker.Option{Identity(id), Server()}, nil, ErrInsecure, true},
		{"empty server", []broker.Option{Identity(id), Server("nats", "")}, nil, ErrInsecure, true},
		{"servers of nats.go", []broker.Option{Use(func(o *natsgo.Options) error { o.Servers = []string{"a"}; return nil })}, nil, ErrInvalid, true},
		{"unchecked subjects", []broker.Option{Use(natsgo.SkipSubjectValidation())}, nil, ErrInsecure, true},
		{"option that fails", []broker.Option{Use(natsgo.RootCAs("/nonexistent"))}, nil, ErrInvalid, true},
		{"no pending messages", []broker.Option{PendingLimits(0, 1)}, nil, ErrInvalid, true},
		{"no drain timeout", []broker.Option{DrainTimeout(0)}, nil, ErrInvalid, true},
		{"stream without a name", []broker.Option{JetStream("")}, nil, ErrInvalid, true},
		{"stream with dots", []broker.Option{JetStream("a.b")}, nil, ErrInvalid, true},
		{"two names of a stream", []broker.Option{JetStream("a", CreateStream(jetstream.StreamConfig{Name: "b"}))}, nil, ErrInvalid, true},
		{"AckWait", []broker.Option{JetStream("a", AckWait(time.Millisecond))}, nil, ErrInvalid, true},
		{"MaxAckPending", []broker.Option{JetStream("a", MaxAckPending(0))}, nil, ErrInvalid, true},
		{"MaxDeliver", []broker.Option{JetStream("a", MaxDeliver(0))}, nil, ErrInvalid, true},
		{"RetryDelay", []broker.Option{JetStream("a", RetryDelay(2, 1))}, nil, ErrInvalid, true},
		{"PublishTimeout", []broker.Option{JetStream("a", PublishTimeout(0))}, nil, ErrInvalid, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cleanEnv(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			b := NewBroker(tt.opts...)
			err := b.Init()
			if errors.Is(err, tt.want) != tt.init || (err != nil) != tt.init {
				t.Errorf("Init: got %v", err)
			}
			if err := b.Connect(); !errors.Is(err, tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Connect: got %v, want %v", err, tt.want)
			}
			want := tt.want
			if !tt.init {
				want = ErrNotConnected
			}
			if err := b.Publish("topic", &broker.Message{}); !errors.Is(err, want) {
				t.Errorf("Publish: got %v, want %v", err, want)
			}
			if _, err := b.Subscribe("topic", func(broker.Event) error { return nil }); !errors.Is(err, want) {
				t.Errorf("Subscribe: got %v, want %v", err, want)
			}
			if err := b.Disconnect(); err != nil {
				t.Errorf("Disconnect: got %v", err)
			}
			if strings.Contains(b.Address(), "secret") {
				t.Errorf("the address is %s", b.Address())
			}
		})
	}
}

// TestLinks says which links are TLS.
func TestLinks(t *testing.T) {
	cleanEnv(t)
	id := newID(t)
	for _, tt := range []struct {
		name string
		opts []broker.Option
		want string
	}{
		{"nothing", nil, "nats://a:4222"},
		{"nkey in clear", []broker.Option{Use(natsgo.Nkey("U", func([]byte) ([]byte, error) { return nil, nil }))}, "nats://a:4222"},
		{"identity", []broker.Option{Identity(id)}, "tls://a:4222"},
		{"identity and nats://", []broker.Option{Identity(id), broker.Addrs("nats://a")}, "tls://a:4222"},
		{"tls.Config", []broker.Option{broker.TLSConfig(&tls.Config{})}, "tls://a:4222"},
		{"another address is TLS", []broker.Option{broker.TLSConfig(&tls.Config{}), broker.Addrs("nats://a", "tls://b")}, "tls://a:4222"},
		{"password over TLS", []broker.Option{Identity(id), Auth("greeter", "secret")}, "tls://a:4222"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := broker.NewOptions(append([]broker.Option{broker.Addrs("a")}, tt.opts...)...)
			s, err := check(o)
			if err != nil || s.nats.Servers[0] != tt.want || s.nats.Secure != strings.HasPrefix(tt.want, "tls") || s.nats.MaxReconnect != -1 {
				t.Errorf("got %v, %v, want %s", s, err, tt.want)
			}
		})
	}
}

func TestOnlyLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:4222": true, "[::1]:4222": true, "[::ffff:127.0.0.1]:1": true, "10.0.0.1:4222": false, "[::]:1": false, "x": false} {
		if err := onlyLoopback("tcp", addr, nil); (err == nil) != want {
			t.Errorf("%s: got %v", addr, err)
		}
	}
}

func TestTLSConfigIsHardened(t *testing.T) {
	id := newID(t)
	mine := &tls.Config{
		ServerName: "nats.example", ClientSessionCache: tls.NewLRUClientSessionCache(1), KeyLogWriter: io.Discard,
		Renegotiation: tls.RenegotiateFreelyAsClient, Certificates: []tls.Certificate{{}},
	}
	made := tlsConfig(mine, id, nil)
	if made == mine || mine.KeyLogWriter == nil || mine.MinVersion != 0 {
		t.Error("the caller's tls.Config was changed")
	}
	if made.MinVersion != tls.VersionTLS12 || made.KeyLogWriter != nil || made.ClientSessionCache != nil || !made.SessionTicketsDisabled || made.Renegotiation != tls.RenegotiateNever {
		t.Errorf("not hardened: %+v", made)
	}
	if made.ServerName != "nats.example" || made.InsecureSkipVerify {
		t.Errorf("server %q, InsecureSkipVerify %v", made.ServerName, made.InsecureSkipVerify)
	}
	if cert, err := made.GetClientCertificate(nil); err != nil || len(made.Certificates) != 0 || cert.Leaf == nil {
		t.Errorf("the identity's certificate is not shown: %v", err)
	}
	if own := tlsConfig(nil, id, []string{"nats"}); own.MinVersion != tls.VersionTLS13 || own.VerifyConnection == nil {
		t.Errorf("without a tls.Config: %+v", own)
	}
}

func TestSubjects(t *testing.T) {
	for topic, want := range map[string][2]bool{ // publish, subscribe
		"a": {true, true}, "a.b": {true, true}, "go.micro.srv.greeter": {true, true}, "ü": {true, true}, "a*b": {true, true},
		"*": {false, true}, "a.*": {false, true}, "a.>": {false, true}, ">": {false, true}, ">.a": {false, false}, "a.>.b": {false, false},
		"": {false, false}, ".": {false, false}, "a.": {false, false}, ".a": {false, false}, "a..b": {false, false}, "a b": {false, false},
		"a\tb": {false, false}, "a\r\nPUB x 0\r\n": {false, false}, "a\x00": {false, false}, "\xff": {false, false},
		"$SYS.x": {false, true}, "$JS.API.STREAM.DELETE.S": {false, true}, strings.Repeat("a", 1024): {true, true}, strings.Repeat("a", 1025): {false, false},
	} {
		if err := checkSubject(topic); (err == nil) != want[0] || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("publish to %q: got %v", topic, err)
		}
		if err := checkPattern(topic, true); (err == nil) != want[1] || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("subscribe to %q: got %v", topic, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a.b", false}, {"*", "a", true}, {"*", "a.b", false}, {"a.>", "a.b.c", true}, {">", "a", true},
		{"a.>", "a", false}, {"a.*", "*.b", true}, {"a.*.c", "a.b.d", false}, {"a.>", "b.>", false},
	} {
		if overlap(tt.a, tt.b) != tt.want || overlap(tt.b, tt.a) != tt.want {
			t.Errorf("%s and %s: want %v", tt.a, tt.b, tt.want)
		}
	}
}

// TestInitAfterwards brings what was missing.
func TestInitAfterwards(t *testing.T) {
	cleanEnv(t)
	b := NewBroker(broker.Addrs("a,,b"))
	if err := b.Init(); !errors.Is(err, ErrAddress) {
		t.Errorf("got %v", err)
	}
	if err := b.Init(broker.Addrs("a")); err != nil || b.Address() != "nats://a:4222" {
		t.Errorf("got %v, %s", err, b.Address())
	}
}

// TestInitAsksWithoutLock: what fetches the JWT may look at the broker.
func TestInitAsksWithoutLock(t *testing.T) {
	cleanEnv(t)
	b, asked := NewBroker(Identity(newID(t))), false
	done := make(chan error, 1)
	go func() {
		done <- b.Init(Use(natsgo.UserJWT(func() (string, error) {
			asked = b.Options().Context != nil
			return "h.p.s", nil
		}, func([]byte) ([]byte, error) { return nil, nil })))
	}()
	select {
	case err := <-done:
		if err != nil || !asked {
			t.Errorf("asked %v: %v", asked, err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Init waits for itself")
	}
}
