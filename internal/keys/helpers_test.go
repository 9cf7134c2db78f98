package keys_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-signet/signet/internal/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "shop.internal"

func newCA(t testing.TB, trustDomain string) *keys.CA {
	t.Helper()
	ca, err := keys.NewCA(trustDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func trustOf(t testing.TB, ca *keys.CA) *keys.DomainTrust {
	t.Helper()
	trust, err := ca.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func join(t testing.TB, home *keys.DomainTrust, others ...*keys.DomainTrust) *keys.Trust {
	t.Helper()
	trust, err := keys.NewTrust(home, others...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func issue(t testing.TB, ca *keys.CA, service string, modify func(*x509.Certificate)) (*x509.Certificate, keys.Signer) {
	t.Helper()
	leaf, key, err := ca.Issue(keys.Request{Service: service, Modify: modify})
	if err != nil {
		t.Fatal(err)
	}
	return leaf, key
}

// writeSet puts a complete identity in a new directory.
func writeSet(t testing.TB, ca *keys.CA, service string) (dir string, set *keys.Set) {
	t.Helper()
	leaf, key := issue(t, ca, service, nil)
	box, err := keys.NewBoxKey()
	if err != nil {
		t.Fatal(err)
	}
	set = &keys.Set{
		ID:    keys.ID{TrustDomain: ca.Domain, Service: service},
		Chain: []*x509.Certificate{leaf},
		Key:   key,
		Box:   box,
		PQ:    must(keys.NewPQKey()),
		Trust: join(t, trustOf(t, ca)),
	}
	dir = filepath.Join(t.TempDir(), "identity")
	if err := set.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir, set
}

func read(dir string) (*keys.Set, error) {
	return keys.ReadSet(dir, keys.ReadOptions{}, time.Now())
}

func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := keys.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// wantError checks that an error wraps what callers branch on and says what a
// reader needs to know.
func wantError(t *testing.T, err, wraps error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one that says %q", says)
	}
	if wraps != nil && !errors.Is(err, wraps) {
		t.Errorf("%q does not wrap %q", err, wraps)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// decode returns the DER of the first PEM block.
func decode(data []byte) []byte {
	block, _ := pem.Decode(data)
	return block.Bytes
}

// flipLast changes the last byte inside a PEM block, which is one of a signature.
func flipLast(data []byte) []byte {
	block, _ := pem.Decode(data)
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}
