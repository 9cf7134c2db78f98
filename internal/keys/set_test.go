package keys_test

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

	"github.com/go-signet/signet/internal/keys"
)

func TestWriteAndRead(t *testing.T) {
	for _, kind := range []keys.Algorithm{keys.P256, keys.Ed25519, keys.RSA2048} {
		ca, partner := newCA(t, domain), newCA(t, "partner.org")
		leaf, key, err := ca.Issue(keys.Request{Service: "shop/greeter", Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		set := &keys.Set{Chain: []*x509.Certificate{leaf}, Key: key, Box: must(keys.NewBoxKey()), PQ: must(keys.NewPQKey()), Trust: join(t, trustOf(t, ca), trustOf(t, partner))}
		dir := filepath.Join(t.TempDir(), "a", "b")
		if err := set.Write(dir); err != nil {
			t.Fatal(err)
		}
		got, err := read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID.String() != "spiffe://shop.internal/shop/greeter" || !got.Leaf().Equal(leaf) || !got.Box.Equal(set.Box) || !samePQ(got.PQ, set.PQ) {
			t.Errorf("read %v", got.ID)
		}
		if got.Trust.Of("partner.org") == nil || got.Trust.HomeDomain() != domain {
			t.Error("trust is incomplete")
		}
		again, err := read(dir)
		if err != nil || again.Digest != got.Digest {
			t.Errorf("digest of the same files differs: %v", err)
		}
		for path, want := range map[string]fs.FileMode{
			"": keys.DirMode, "../../a": keys.DirMode, "trust": keys.DirMode,
			"tls.key": 0o600, "box.key": 0o600, "pq.key": 0o600, "tls.crt": 0o644, "ca.crt": 0o644, "ca.crl": 0o644,
			"trust/partner.org.crt": 0o644, "trust/partner.org.crl": 0o644,
		} {
			info, err := os.Stat(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); mode != want {
				t.Errorf("%s has mode %04o; want %04o", path, mode, want)
			}
		}
		if names := list(t, dir); len(names) != 7 {
			t.Errorf("the directory holds %v", names)
		}
	}
}

func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	for _, entry := range must(os.ReadDir(dir)) {
		names = append(names, entry.Name())
	}
	return names
}

func TestDigestCoversEveryFile(t *testing.T) {
	ca := newCA(t, domain)
	dir, _ := writeSet(t, ca, "a")
	base := must(read(dir)).Digest
	changes := map[string][]byte{
		"box.key":               pkcs8(t, must(keys.NewBoxKey())),
		"pq.key":                must(keys.EncodePQKey(must(keys.NewPQKey()))),
		"ca.crt":                keys.EncodeCertificates(ca.Cert, makeCA(t, nil, nil).cert),
		"ca.crl":                must(ca.Revoke(trustOf(t, ca))).EncodeCRLs(),
		"trust/partner.org.crt": keys.EncodeCertificates(newCA(t, "partner.org").Cert),
	}
	if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range changes {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			was, err := os.ReadFile(path)
			writeFile(t, path, data, 0o600)
			if must(read(dir)).Digest == base {
				t.Error("the digest is the same")
			}
			if err != nil {
				os.Remove(path)
			} else {
				writeFile(t, path, was, 0o600)
			}
			if must(read(dir)).Digest != base {
				t.Error("the digest is not what it was")
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	ca := newCA(t, domain)
	other, _ := writeSet(t, ca, "b")
	leafFile := func(modify func(*x509.Certificate)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			leaf, key := issue(t, ca, "a", modify)
			set := keys.Set{Chain: []*x509.Certificate{leaf}, Key: key, Trust: join(t, trustOf(t, ca))}
			if err := set.Write(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(name string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			os.Mkdir(filepath.Join(dir, "trust"), 0o700)
			writeFile(t, filepath.Join(dir, name), data, 0o600)
		}
	}
	chmod := func(name string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	key, cert := readFile(t, other, "tls.key"), readFile(t, other, "tls.crt")
	box, pq := readFile(t, other, "box.key"), readFile(t, other, "pq.key")
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		wraps  error
		says   []string
	}{
		"no certificate":                   {remove("tls.crt"), fs.ErrNotExist, []string{"tls.crt"}},
		"no key":                           {remove("tls.key"), fs.ErrNotExist, []string{"tls.key"}},
		"no CA":                            {remove("ca.crt"), fs.ErrNotExist, []string{"ca.crt"}},
		"key of another certificate":       {put("tls.key", key), keys.ErrMismatch, []string{"tls.key", "tls.crt"}},
		"PEM of another type":              {put("tls.key", cert), keys.ErrPEM, []string{"tls.key", "CERTIFICATE"}},
		"truncated PEM":                    {put("tls.crt", cert[:200]), keys.ErrPEM, []string{"tls.crt", "truncated"}},
		"truncated key":                    {put("tls.key", key[:60]), keys.ErrPEM, []string{"tls.key", "truncated"}},
		"two keys in one file":             {put("tls.key", append(bytes.Clone(key), key...)), keys.ErrPEM, []string{"tls.key", "two keys"}},
		"key beside the certificate":       {put("tls.crt", append(bytes.Clone(cert), key...)), keys.ErrPEM, []string{"tls.crt", "PRIVATE KEY"}},
		"box key of another kind":          {put("box.key", key), keys.ErrPEM, []string{"box.key", "X25519"}},
		"post-quantum key in box.key":      {put("box.key", pq), keys.ErrPEM, []string{"box.key", "belongs in pq.key"}},
		"X25519 key in pq.key":             {put("pq.key", box), keys.ErrPEM, []string{"pq.key", "belongs in box.key"}},
		"post-quantum key of another kind": {put("pq.key", key), keys.ErrPEM, []string{"pq.key", "MLKEM768-X25519"}},
		"post-quantum key of another type": {put("pq.key", cert), keys.ErrPEM, []string{"pq.key", "CERTIFICATE"}},
		"truncated post-quantum key":       {put("pq.key", pq[:80]), keys.ErrPEM, []string{"pq.key", "truncated"}},
		"empty post-quantum key":           {put("pq.key", nil), keys.ErrPEM, []string{"pq.key", "empty"}},
		"large post-quantum key":           {put("pq.key", make([]byte, keys.MaxKeyFile+1)), nil, []string{"pq.key", "at most 65536"}},
		"list not signed by the CA":        {put("ca.crl", trustOf(t, newCA(t, domain)).EncodeCRLs()), keys.ErrUntrusted, []string{"ca.crl"}},
		"list empty":                       {put("ca.crl", nil), keys.ErrPEM, []string{"ca.crl", "empty"}},
		"leaf in ca.crt":                   {put("ca.crt", append(keys.EncodeCertificates(ca.Cert), cert...)), keys.ErrUntrusted, []string{"ca.crt", "certificate 2"}},
		"another CA":                       {put("ca.crt", keys.EncodeCertificates(newCA(t, domain).Cert)), keys.ErrUntrusted, []string{"ca.crl"}},
		"large certificate":                {put("tls.crt", make([]byte, keys.MaxCertFile+1)), nil, []string{"tls.crt", "at most 1048576"}},
		"large key":                        {put("tls.key", make([]byte, keys.MaxKeyFile+1)), nil, []string{"tls.key", "at most 65536"}},
		"large list":                       {put("ca.crl", make([]byte, keys.MaxCRLFile+1)), nil, []string{"ca.crl", "at most 8388608"}},
		"key readable by all":              {chmod("tls.key", 0o644), keys.ErrMode, []string{"tls.key", "0644", "chmod 600"}},
		"key readable by the group":        {chmod("tls.key", 0o640), keys.ErrMode, []string{"tls.key", "0640", "chmod 600"}},
		"box key writable by others":       {chmod("box.key", 0o602), keys.ErrMode, []string{"box.key", "0602", "chmod 600"}},
		"post-quantum key for the group":   {chmod("pq.key", 0o640), keys.ErrMode, []string{"pq.key", "0640", "chmod 600"}},
		"CA writable by all":               {chmod("ca.crt", 0o666), nil, []string{"ca.crt", "0666", "chmod 644"}},
		"expired leaf":                     {leafFile(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), keys.ErrExpired, []string{"tls.crt", "ended at", "now is"}},
		"leaf not yet valid":               {leafFile(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), keys.ErrNotYetValid, []string{"tls.crt", "begins at", "now is"}},
		"two URI SANs":                     {leafFile(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), keys.ErrNotSPIFFE, []string{"tls.crt", "2 URI"}},
		"CA leaf":                          {leafFile(func(c *x509.Certificate) { c.IsCA = true }), keys.ErrNotSPIFFE, []string{"tls.crt", "CA"}},
		"wrong EKU":                        {leafFile(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), keys.ErrNotSPIFFE, []string{"tls.crt", "extended key usage"}},
		"foreign trust domain":             {leafFile(func(c *x509.Certificate) { c.URIs[0] = uri("spiffe://foreign.org/a") }), keys.ErrUntrusted, []string{"tls.crt"}},
		"federated file of our own domain": {put("trust/"+domain+".crt", keys.EncodeCertificates(ca.Cert)), nil, []string{"trust/" + domain + ".crt", "remove it"}},
		"federated file of another kind":   {put("trust/partner.org.pem", keys.EncodeCertificates(ca.Cert)), nil, []string{"partner.org.pem", "unexpected file"}},
		"federated list misspelt":          {put("trust/partner.org.clr", nil), nil, []string{"partner.org.clr", "unexpected file"}},
		"federated list alone":             {put("trust/partner.org.crl", trustOf(t, ca).EncodeCRLs()), nil, []string{"partner.org.crl", "without"}},
		"federated name malformed":         {put("trust/Partner.crt", keys.EncodeCertificates(ca.Cert)), keys.ErrInvalidName, []string{"Partner.crt"}},
		"federated bundle truncated":       {put("trust/partner.org.crt", cert[:200]), keys.ErrPEM, []string{"trust/partner.org.crt"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := writeSet(t, ca, "a")
			c.damage(t, dir)
			_, err := read(dir)
			wantError(t, err, c.wraps, c.says...)
			if secret := strings.Split(string(key), "\n")[1]; strings.Contains(err.Error(), secret[:16]) {
				t.Error("the error holds a key")
			}
		})
	}
}

func TestReadPassesOverHiddenFiles(t *testing.T) {
	dir, _ := writeSet(t, newCA(t, domain), "a")
	if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "trust", ".partner.org.crt.0123"), []byte("half a fi"), 0o600)
	if _, err := read(dir); err != nil {
		t.Error(err)
	}
}

func TestReadWantsRegularFiles(t *testing.T) {
	dir, _ := writeSet(t, newCA(t, domain), "a")
	if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "ca.crl"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := read(dir)
	wantError(t, err, nil, "ca.crl", "not a regular file")
}

func TestTooManyFederated(t *testing.T) {
	ca := newCA(t, domain)
	dir, _ := writeSet(t, ca, "a")
	if err := os.Mkdir(filepath.Join(dir, "trust"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 4*keys.MaxFederated + 1 {
		name := "d" + strings.Repeat("x", i%200) + string(rune('a'+i/200)) + ".org.crt"
		if err := os.WriteFile(filepath.Join(dir, "trust", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := read(dir)
	wantError(t, err, nil, "trust", "at most 64")
}

func TestGroupReadable(t *testing.T) {
	dir, _ := writeSet(t, newCA(t, domain), "a")
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o440: true, 0o640: true, 0o660: false, 0o644: false, 0o604: false, 0o650: false} {
		if err := os.Chmod(filepath.Join(dir, "tls.key"), mode); err != nil {
			t.Fatal(err)
		}
		_, err := keys.ReadSet(dir, keys.ReadOptions{GroupReadable: true}, time.Now())
		if (err == nil) != ok || err != nil && !errors.Is(err, keys.ErrMode) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

// TestRevokedSet: the one error with which the set comes too.
func TestRevokedSet(t *testing.T) {
	ca := newCA(t, domain)
	dir, set := writeSet(t, ca, "a")
	revoked := must(ca.Revoke(set.Trust.Home(), set.Leaf()))
	writeFile(t, filepath.Join(dir, "ca.crl"), revoked.EncodeCRLs(), 0o644)
	got, err := read(dir)
	wantError(t, err, keys.ErrRevoked, "tls.crt")
	if got == nil {
		t.Error("no set")
	}
}

func TestCreateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	if err := keys.CreateFile(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keys.CreateFile(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replaced: %v", err)
	}
	if got := readFile(t, path); string(got) != "first" {
		t.Errorf("the file holds %q", got)
	}
	if err := keys.WriteFile(path, []byte("third"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); string(got) != "third" {
		t.Errorf("the file holds %q", got)
	}
	if err := keys.WriteFile(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil {
		t.Error("no error for a directory that is not there")
	}
	if names := list(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestAuthorityFiles(t *testing.T) {
	ca := newCA(t, domain)
	dir := filepath.Join(t.TempDir(), "authority")
	if err := ca.Write(dir, trustOf(t, ca)); err != nil {
		t.Fatal(err)
	}
	loaded, trust, err := keys.ReadCA(dir, keys.ReadOptions{})
	if err != nil || loaded.Domain != domain || trust.Domain() != domain {
		t.Fatalf("%v", err)
	}
	if info := must(os.Stat(filepath.Join(dir, "ca.key"))); info.Mode().Perm() != 0o600 {
		t.Errorf("ca.key has mode %v", info.Mode())
	}
	before := readFile(t, dir, "ca.key")
	if err := newCA(t, domain).Write(dir, trust); !errors.Is(err, fs.ErrExist) || !bytes.Equal(before, readFile(t, dir, "ca.key")) {
		t.Errorf("an authority was overwritten: %v", err)
	}
	leaf, _ := issue(t, loaded, "a", nil)
	if err := verify(join(t, trust), leaf); err != nil {
		t.Error(err)
	}
	outside := makeCA(t, nil, nil)
	for name, c := range map[string]struct {
		file  string
		data  []byte
		wraps error
		says  string
	}{
		"key of another":      {"ca.key", pkcs8(t, outside.key), keys.ErrMismatch, "ca.key"},
		"leaf":                {"ca.crt", keys.EncodeCertificates(leaf), keys.ErrUntrusted, "not a CA"},
		"two certificates":    {"ca.crt", keys.EncodeCertificates(ca.Cert, ca.Cert), keys.ErrPEM, "more than 1"},
		"list of another":     {"ca.crl", outside.list(t, nil), keys.ErrUntrusted, "ca.crl"},
		"key readable by all": {"ca.key", nil, keys.ErrMode, "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "authority")
			if err := ca.Write(dir, trust); err != nil {
				t.Fatal(err)
			}
			if c.data != nil {
				writeFile(t, filepath.Join(dir, c.file), c.data, 0o600)
			} else if err := os.Chmod(filepath.Join(dir, c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			_, _, err := keys.ReadCA(dir, keys.ReadOptions{})
			wantError(t, err, c.wraps, c.says)
		})
	}
	t.Run("no list", func(t *testing.T) {
		if err := os.Remove(filepath.Join(dir, "ca.crl")); err != nil {
			t.Fatal(err)
		}
		_, _, err := keys.ReadCA(dir, keys.ReadOptions{})
		wantError(t, err, fs.ErrNotExist, "ca.crl", "copy the newest")
	})
	t.Run("not constrained", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "ca.key"), pkcs8(t, outside.key), 0o600)
		writeFile(t, filepath.Join(dir, "ca.crt"), keys.EncodeCertificates(outside.cert), 0o644)
		_, _, err := keys.ReadCA(dir, keys.ReadOptions{})
		wantError(t, err, keys.ErrUntrusted, "not an authority of Signet")
	})
}

// TestRevokeInLosesNothing: several processes that revoke at once.
func TestRevokeInLosesNothing(t *testing.T) {
	ca := newCA(t, domain)
	dir := filepath.Join(t.TempDir(), "authority")
	trust := trustOf(t, ca)
	if err := ca.Write(dir, trust); err != nil {
		t.Fatal(err)
	}
	const n = 8
	done := make(chan error, n)
	for range n {
		leaf, _ := issue(t, ca, "a", nil)
		go func() {
			_, err := ca.RevokeIn(dir, trust, leaf)
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	_, now, err := keys.ReadCA(dir, keys.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := parseList(t, now); len(got.RevokedCertificateEntries) != n || got.Number.Int64() != n+1 {
		t.Errorf("%d entries, number %v", len(got.RevokedCertificateEntries), got.Number)
	}
}
