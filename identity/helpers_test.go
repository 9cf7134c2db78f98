package identity_test

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "shop.internal"

func newAuthority(t testing.TB, trustDomain string) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority(trustDomain)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *identity.Authority, service string, opts ...identity.IssueOption) *identity.Identity {
	t.Helper()
	id, err := a.Issue(service, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	return id
}

// save puts an identity in a new directory.
func save(t testing.TB, id *identity.Identity) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "identity")
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// load follows a directory closely; events gets what happens.
func load(t testing.TB, dir string, opts ...identity.LoadOption) (id *identity.Identity, events <-chan identity.Event) {
	t.Helper()
	happened := make(chan identity.Event, 1000)
	opts = append([]identity.LoadOption{
		identity.Logger(slog.New(slog.DiscardHandler)),
		identity.OnEvent(func(e identity.Event) { happened <- e }),
	}, opts...)
	id, err := identity.Load(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	return id, happened
}

// await returns the next event of a kind.
func await(t testing.TB, events <-chan identity.Event, kind identity.EventKind) identity.Event {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-timeout:
			t.Fatalf("%v did not happen", kind)
		}
	}
}

// chain returns what an identity presents.
func chain(t testing.TB, id *identity.Identity) []*x509.Certificate {
	t.Helper()
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, cert.Certificate)
}

func parse(t testing.TB, ders [][]byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

// signer returns the CA behind an authority, for certificates that Issue would
// not make.
func signer(t testing.TB, a *identity.Authority) *keys.CA {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	ca, _, err := keys.ReadCA(dir, keys.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func put(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := keys.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantError(t *testing.T, err, wraps error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v, that says %q", wraps, says)
	}
	if wraps != nil && !errors.Is(err, wraps) {
		t.Errorf("%q does not wrap %q", err, wraps)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if !strings.HasPrefix(err.Error(), "identity: ") {
		t.Errorf("%q does not begin with identity:", err)
	}
}
