package etcd

import (
	"crypto/tls"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

func TestMain(m *testing.M) {
	leaktest.Main(m)
}

// clean empties the environment that the registry looks at.
func cleanEnv(t *testing.T) {
	for _, name := range []string{addressEnv, userEnv, passwordEnv, identity.EnvDir, identity.EnvGroupReadable} {
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

func TestIsAmongTheRegistries(t *testing.T) {
	r := cmd.DefaultRegistries["etcd"]()
	if r.String() != "etcd" {
		t.Errorf("got %q", r.String())
	}
	if _, ok := r.(*etcdRegistry); !ok {
		t.Errorf("got a %T", r)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		addrs    []string
		env      string
		insecure bool
		want     []string
	}{
		{"none", nil, "", false, []string{"https://127.0.0.1:2379"}},
		{"empty", []string{"", ""}, "", false, []string{"https://127.0.0.1:2379"}},
		{"without port", []string{"etcd-1"}, "", false, []string{"https://etcd-1:2379"}},
		{"list", []string{"a:1, b:2", "https://c/"}, "", false, []string{"https://a:1", "https://b:2", "https://c:2379"}},
		{"IPv6", []string{"::1", "[::1]", "[::1]:5"}, "", false, []string{"https://[::1]:2379", "https://[::1]:2379", "https://[::1]:5"}},
		{"environment", nil, "a,b:7", false, []string{"https://a:2379", "https://b:7"}},
		{"option before environment", []string{"a"}, "b", false, []string{"https://a:2379"}},
		{"in clear", []string{"http://a", "b:1"}, "", true, []string{"http://a:2379", "http://b:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(addressEnv, tt.env)
			got, err := parseAddresses(tt.addrs, tt.insecure)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	t.Setenv(addressEnv, "")
	for name, addr := range map[string]string{
		"http with TLS": "http://a:2379", "scheme": "unix:///run/etcd", "path": "https://a/b", "account": "u:p@a:1",
		"no port": "https://a:", "empty element": "a,,b",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAddresses([]string{addr}, false)
			if !errors.Is(err, ErrAddress) {
				t.Errorf("got %v, %v, want %v", got, err, ErrAddress)
			}
		})
	}
	if got, err := parseAddresses([]string{"https://a"}, true); !errors.Is(err, ErrAddress) {
		t.Errorf("https without TLS: got %v, %v", got, err)
	}
}

func TestConfigurationsRefused(t *testing.T) {
	id := newID(t)
	closed := newID(t)
	_ = closed.Close()
	for _, tt := range []struct {
		name string
		opts []registry.Option
		env  map[string]string
		want error
		init bool // Init reports it too
	}{
		{"nothing", nil, nil, ErrNoIdentity, false},
		{"nil identity", []registry.Option{Identity(nil)}, nil, ErrNoIdentity, false},
		{"closed identity", []registry.Option{Identity(closed)}, nil, ErrNoIdentity, false},
		{"identity in a directory that is none", nil, map[string]string{identity.EnvDir: "/nonexistent"}, ErrNoIdentity, false},
		{"Secure without anything", []registry.Option{registry.Secure(true)}, nil, ErrNoIdentity, false},
		{"bad address", []registry.Option{Identity(id), registry.Addrs("a,,b")}, nil, ErrAddress, true},
		{"bad address, no identity", []registry.Option{registry.Addrs("a,,b")}, nil, ErrAddress, true},
		{"bad address in the environment", []registry.Option{Identity(id)}, map[string]string{addressEnv: "http://a"}, ErrAddress, true},
		{"user without password", []registry.Option{Identity(id), Auth("greeter", "")}, nil, ErrInvalid, true},
		{"password without user, environment", []registry.Option{Identity(id)}, map[string]string{passwordEnv: "secret"}, ErrInvalid, true},
		{"password in clear", []registry.Option{Insecure(), Auth("greeter", "secret"), registry.Addrs("127.0.0.1", "etcd-1")}, nil, ErrInsecure, true},
		{"in clear and a tls.Config", []registry.Option{Insecure(), registry.TLSConfig(&tls.Config{})}, nil, ErrInsecure, true},
		{"in clear and Secure", []registry.Option{Insecure(), registry.Secure(true)}, nil, ErrInsecure, true},
		{"InsecureSkipVerify", []registry.Option{registry.TLSConfig(&tls.Config{InsecureSkipVerify: true})}, nil, ErrInsecure, true},
		{"TLS 1.1", []registry.Option{registry.TLSConfig(&tls.Config{MaxVersion: tls.VersionTLS11})}, nil, ErrInsecure, true},
		{"no server", []registry.Option{Identity(id), Server()}, nil, ErrInsecure, true},
		{"empty server", []registry.Option{Identity(id), Server("etcd", "")}, nil, ErrInsecure, true},
		{"empty prefix", []registry.Option{Identity(id), Prefix("")}, nil, ErrInvalid, true},
		{"prefix of everything", []registry.Option{Identity(id), Prefix("/")}, nil, ErrInvalid, true},
		{"prefix with a control character", []registry.Option{Identity(id), Prefix("/a\n/")}, nil, ErrInvalid, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cleanEnv(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			r := NewRegistry(tt.opts...)
			defer r.(io.Closer).Close()
			if err := r.Init(); errors.Is(err, tt.want) != tt.init || (err != nil) != tt.init {
				t.Errorf("Init: got %v", err)
			}
			_, getErr := r.GetService("x")
			_, listErr := r.ListServices()
			_, watchErr := r.Watch()
			s := &registry.Service{Name: "x", Nodes: []*registry.Node{{Id: "1"}}}
			for call, err := range map[string]error{
				"GetService": getErr, "ListServices": listErr, "Watch": watchErr,
				"Register": r.Register(s), "Deregister": r.Deregister(s),
			} {
				if !errors.Is(err, tt.want) {
					t.Errorf("%s: got %v, want %v", call, err, tt.want)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: the error tells the password: %v", call, err)
				}
			}
		})
	}
}

func TestNilContext(t *testing.T) {
	cleanEnv(t)
	o := registry.Options{}
	Identity(newID(t))(&o)
	if s, err := check(&o); err != nil || s.timeout != defaultTimeout || s.prefix != DefaultPrefix {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestServicesThatCannotBeRegistered(t *testing.T) {
	cleanEnv(t)
	r := NewRegistry(Insecure())
	defer r.(io.Closer).Close()
	for name, s := range map[string]*registry.Service{
		"nil": nil, "no name": {Nodes: []*registry.Node{{Id: "1"}}}, "no nodes": {Name: "x"},
		"nil nodes": {Name: "x", Nodes: []*registry.Node{nil}}, "no ID": {Name: "x", Nodes: []*registry.Node{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := r.Register(s); !errors.Is(err, ErrInvalid) {
				t.Errorf("Register: got %v, want %v", err, ErrInvalid)
			}
			if err := r.Deregister(s); !errors.Is(err, ErrInvalid) {
				t.Errorf("Deregister: got %v, want %v", err, ErrInvalid)
			}
		})
	}
	good := &registry.Service{Name: "x", Nodes: []*registry.Node{{Id: "1"}}}
	if err := r.Register(good, registry.RegisterTTL(-1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("negative TTL: got %v, want %v", err, ErrInvalid)
	}
	if _, err := r.GetService(""); !errors.Is(err, ErrInvalid) {
		t.Errorf("GetService of nothing: got %v, want %v", err, ErrInvalid)
	}
}

func TestTLSConfigIsHardened(t *testing.T) {
	id := newID(t)
	mine := &tls.Config{
		ServerName: "etcd.example", ClientSessionCache: tls.NewLRUClientSessionCache(1), KeyLogWriter: io.Discard,
		Renegotiation: tls.RenegotiateFreelyAsClient, Certificates: []tls.Certificate{{}},
	}
	made, server := tlsConfig(mine, id, nil)
	if made == mine || mine.KeyLogWriter == nil || mine.MinVersion != 0 {
		t.Error("the caller's tls.Config was changed")
	}
	if made.MinVersion != tls.VersionTLS12 || made.KeyLogWriter != nil || made.ClientSessionCache != nil || made.Renegotiation != tls.RenegotiateNever {
		t.Errorf("not hardened: %+v", made)
	}
	if server != "etcd.example" || made.InsecureSkipVerify {
		t.Errorf("server %q, InsecureSkipVerify %v", server, made.InsecureSkipVerify)
	}
	if cert, err := made.GetClientCertificate(nil); err != nil || len(made.Certificates) != 0 || cert.Leaf == nil {
		t.Errorf("the identity's certificate is not shown: %v", err)
	}
	byID, _ := tlsConfig(nil, id, []string{"etcd"})
	if byID.MinVersion != tls.VersionTLS13 || byID.VerifyConnection == nil {
		t.Errorf("by identity: %+v", byID)
	}
	if err := byID.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("a server without a certificate passed")
	}
}

// TestPasswordInAnAddress: it is refused, and not repeated.
func TestPasswordInAnAddress(t *testing.T) {
	cleanEnv(t)
	_, err := NewRegistry(registry.Addrs("https://root:s3cret@etcd:2379")).GetService("greeter")
	if !errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "@etcd:2379") {
		t.Errorf("error is %v", err)
	}
}
