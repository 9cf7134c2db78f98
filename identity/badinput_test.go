package identity_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// rewrite puts a leaf that Issue would not make in an identity's directory.
func rewrite(t testing.TB, dir string, ca *keys.CA, modify func(*x509.Certificate)) {
	t.Helper()
	trust, err := ca.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	joined, err := keys.NewTrust(trust)
	if err != nil {
		t.Fatal(err)
	}
	leaf, key, err := ca.Issue(keys.Request{Service: "a", Modify: modify})
	if err != nil {
		t.Fatal(err)
	}
	set := keys.Set{Chain: []*x509.Certificate{leaf}, Key: key, Trust: joined}
	if err := set.Write(dir); err != nil {
		t.Fatal(err)
	}
}

// badInput is the table of what must not be loaded, neither at start nor while a
// service runs.
func badInput(t *testing.T, a *identity.Authority) map[string]struct {
	damage func(t *testing.T, dir string)
	wraps  error
	says   []string
} {
	ca := signer(t, a)
	other := save(t, issue(t, a, "b"))
	otherKey, otherCert := get(t, other, "tls.key"), get(t, other, "tls.crt")
	replace := func(name string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { put(t, filepath.Join(dir, name), data, 0o600) }
	}
	leaf := func(modify func(*x509.Certificate)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { rewrite(t, dir, ca, modify) }
	}
	return map[string]struct {
		damage func(t *testing.T, dir string)
		wraps  error
		says   []string
	}{
		"key does not match certificate":       {replace("tls.key", otherKey), identity.ErrMismatch, []string{"tls.key", "tls.crt"}},
		"PEM of another type":                  {replace("tls.key", otherCert), identity.ErrPEM, []string{"tls.key", "CERTIFICATE"}},
		"truncated PEM":                        {replace("tls.crt", otherCert[:100]), identity.ErrPEM, []string{"tls.crt", "truncated"}},
		"two keys in one file":                 {replace("tls.key", append(bytes.Clone(otherKey), otherKey...)), identity.ErrPEM, []string{"tls.key", "two keys"}},
		"expired leaf":                         {leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), identity.ErrExpired, []string{"tls.crt", "ended at", "now is"}},
		"not yet valid leaf":                   {leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), identity.ErrNotYetValid, []string{"tls.crt", "begins at", "now is"}},
		"two URI SANs":                         {leaf(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), identity.ErrNotSPIFFE, []string{"tls.crt", "2 URI"}},
		"CA leaf":                              {leaf(func(c *x509.Certificate) { c.IsCA = true }), identity.ErrNotSPIFFE, []string{"tls.crt", "CA"}},
		"wrong EKU":                            {leaf(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), identity.ErrNotSPIFFE, []string{"tls.crt", "serverAuth"}},
		"foreign trust domain":                 {leaf(func(c *x509.Certificate) { c.URIs[0].Host = "foreign.org" }), identity.ErrUntrusted, []string{"tls.crt"}},
		"service name with /../":               {leaf(func(c *x509.Certificate) { c.URIs[0].Path = "/a/../b" }), identity.ErrInvalidName, []string{"tls.crt"}},
		"service name with control characters": {leaf(func(c *x509.Certificate) { c.URIs[0].Path = "/a\x02" }), identity.ErrInvalidName, []string{"tls.crt"}},
		"service name over 255 bytes":          {leaf(func(c *x509.Certificate) { c.URIs[0].Path = "/" + strings.Repeat("a", 256) }), identity.ErrInvalidName, []string{"tls.crt"}},
		"service name empty":                   {leaf(func(c *x509.Certificate) { c.URIs[0].Path = "/" }), identity.ErrInvalidName, []string{"tls.crt"}},
		"tls.key mode 0644": {func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "tls.key"), 0o644); err != nil {
				t.Fatal(err)
			}
			// A change of mode alone is seen, too, when something else happens.
			put(t, filepath.Join(dir, "note"), nil, 0o600)
		}, identity.ErrMode, []string{"tls.key", "0644", "chmod 600"}},
		"revocation list of another CA": {replace("ca.crl", get(t, save(t, issue(t, newAuthority(t, domain), "b")), "ca.crl")), identity.ErrUntrusted, []string{"ca.crl"}},
		"half-written set":              {replace("tls.crt", otherCert), identity.ErrMismatch, []string{"tls.key"}},
	}
}

func TestBadInputAtStart(t *testing.T) {
	a := newAuthority(t, domain)
	for name, c := range badInput(t, a) {
		t.Run(name, func(t *testing.T) {
			dir := save(t, issue(t, a, "a"))
			c.damage(t, dir)
			id, err := identity.Load(dir)
			if err == nil {
				id.Close()
			}
			wantError(t, err, c.wraps, c.says...)
		})
	}
	t.Run("no directory", func(t *testing.T) {
		_, err := identity.Load(filepath.Join(t.TempDir(), "none"))
		wantError(t, err, fs.ErrNotExist, "signet issue")
	})
}

// TestBadInputAtReload: the old set stays, and works.
func TestBadInputAtReload(t *testing.T) {
	a := newAuthority(t, domain)
	judge := issue(t, a, "judge")
	for name, c := range badInput(t, a) {
		t.Run(name, func(t *testing.T) {
			dir := save(t, issue(t, a, "a"))
			id, events := load(t, dir)
			before := chain(t, id)
			c.damage(t, dir)
			e := await(t, events, identity.ReloadFailed)
			wantError(t, e.Err, c.wraps, append(c.says, "stays in force")...)
			if id.Generation() != 1 || id.Reloads().Failed == 0 {
				t.Errorf("generation %d, %+v", id.Generation(), id.Reloads())
			}
			if !chain(t, id)[0].Equal(before[0]) {
				t.Error("another leaf is in force")
			}
			if _, _, err := judge.Verify(chain(t, id)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("half-written set during renewal", func(t *testing.T) {
		old := issue(t, a, "a")
		dir := save(t, old)
		next := save(t, issue(t, a, "a", identity.Renews(old)))
		id, events := load(t, dir)
		put(t, filepath.Join(dir, "tls.key"), get(t, next, "tls.key"), 0o600)
		await(t, events, identity.ReloadFailed)
		put(t, filepath.Join(dir, "tls.crt"), get(t, next, "tls.crt"), 0o644)
		await(t, events, identity.Reloaded)
		if id.Generation() != 2 {
			t.Errorf("generation %d", id.Generation())
		}
		cert, err := id.TLSCertificate()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := id.Sign("test", []byte("x"))
		if err != nil || identity.VerifySignature(cert.Leaf, "test", sig, []byte("x")) != nil {
			t.Errorf("key and certificate do not belong together: %v", err)
		}
	})
	t.Run("another identity", func(t *testing.T) {
		dir := save(t, issue(t, a, "a"))
		_, events := load(t, dir)
		if err := issue(t, a, "b").Save(dir); err != nil {
			t.Fatal(err)
		}
		for {
			if e := await(t, events, identity.ReloadFailed); !errors.Is(e.Err, identity.ErrMismatch) {
				wantError(t, e.Err, nil, "spiffe://shop.internal/b is there instead of spiffe://shop.internal/a")
				return
			}
		}
	})
	t.Run("revocation list gone", func(t *testing.T) {
		dir := save(t, issue(t, a, "a"))
		_, events := load(t, dir)
		if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
			t.Fatal(err)
		}
		wantError(t, await(t, events, identity.ReloadFailed).Err, identity.ErrStaleCRL, "has gone")
	})
	t.Run("revocation list rolled back", func(t *testing.T) {
		a := newAuthority(t, domain)
		us, them := issue(t, a, "a"), issue(t, a, "b")
		before := save(t, us)
		if err := a.Revoke(them); err != nil {
			t.Fatal(err)
		}
		dir := save(t, us)
		id, events := load(t, dir)
		put(t, filepath.Join(dir, "ca.crl"), get(t, before, "ca.crl"), 0o644)
		wantError(t, await(t, events, identity.ReloadFailed).Err, identity.ErrStaleCRL, "went back from number 2 to 1")
		_, _, err := id.Verify(chain(t, them))
		wantError(t, err, identity.ErrRevoked)
	})
	for _, name := range []string{"box.key", "pq.key"} {
		t.Run(name+" gone", func(t *testing.T) {
			us := issue(t, a, "a")
			dir := save(t, us)
			id, events := load(t, dir)
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			wantError(t, await(t, events, identity.ReloadFailed).Err, nil, name+" has gone")
			if got := id.SealKeys(); len(got) != 1 || !samePair(t, got[0], us.SealKeys()[0]) {
				t.Errorf("%d pairs", len(got))
			}
		})
	}
}
