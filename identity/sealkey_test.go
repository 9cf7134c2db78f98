package identity_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-signet/signet/identity"
)

func remove(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// pairs checks what SealKeys returns, in order.
func pairs(t *testing.T, id *identity.Identity, want ...identity.SealKey) {
	t.Helper()
	got := id.SealKeys()
	if len(got) != len(want) {
		t.Fatalf("%d pairs; want %d", len(got), len(want))
	}
	for i := range got {
		if !samePair(t, got[i], want[i]) {
			t.Errorf("pair %d is another", i)
		}
	}
}

// TestSealKeys: a pair is replaced when either half changes.
func TestSealKeys(t *testing.T) {
	a := newAuthority(t, domain)
	first, second, third := issue(t, a, "a"), issue(t, a, "a"), issue(t, a, "a")
	one, two, three := first.SealKeys()[0], second.SealKeys()[0], third.SealKeys()[0]
	dir := save(t, first)
	id, events := load(t, dir)
	hasty, hastyEvents := load(t, dir, identity.BoxKeyGrace(0))
	pairs(t, id, one)
	take := func(from *identity.Identity, name string) {
		t.Helper()
		put(t, filepath.Join(dir, name), get(t, save(t, from), name), 0o600)
		await(t, events, identity.Reloaded)
		await(t, hastyEvents, identity.Reloaded)
	}
	mixed := identity.SealKey{X25519: one.X25519, PQ: two.PQ}
	take(second, "pq.key")
	pairs(t, id, mixed, one)
	pairs(t, hasty, mixed)
	if got := id.BoxKeys(); len(got) != 1 || !got[0].Equal(one.X25519) {
		t.Errorf("%d X25519 keys: want the one that has not changed, once", len(got))
	}
	take(second, "box.key")
	pairs(t, id, two, mixed, one)
	if got := id.BoxKeys(); len(got) != 2 || !got[0].Equal(two.X25519) || !got[1].Equal(one.X25519) {
		t.Errorf("%d X25519 keys", len(got))
	}
	// A pair that comes back is current, and not retired as well.
	take(first, "box.key")
	pairs(t, id, mixed, two, one)
	take(third, "pq.key")
	pairs(t, id, identity.SealKey{X25519: one.X25519, PQ: three.PQ}, mixed, two, one)
	pairs(t, hasty, identity.SealKey{X25519: one.X25519, PQ: three.PQ})
	id.Close()
	pairs(t, id)
}

// TestPQKeyOfTheProcess: it stays when the rest is renewed, and gives way to a file.
func TestPQKeyOfTheProcess(t *testing.T) {
	a := newAuthority(t, domain)
	first := issue(t, a, "a")
	dir := save(t, first)
	remove(t, dir, "pq.key")
	id, events := load(t, dir)
	made := id.SealKeys()[0]
	if !made.X25519.Equal(first.BoxKeys()[0]) || bytes.Equal(seedOf(t, made.PQ), seedOf(t, first.SealKeys()[0].PQ)) {
		t.Error("the wrong keys were made")
	}
	renewed := save(t, issue(t, a, "a", identity.Renews(first)))
	for _, name := range []string{"tls.key", "tls.crt"} {
		put(t, filepath.Join(dir, name), get(t, renewed, name), 0o600)
	}
	await(t, events, identity.Reloaded)
	pairs(t, id, made)
	put(t, filepath.Join(dir, "pq.key"), get(t, renewed, "pq.key"), 0o600)
	await(t, events, identity.Reloaded)
	pairs(t, id, first.SealKeys()[0], made)
}

// TestBadPQKey: what is wrong with pq.key is said, and what works stays in force.
func TestBadPQKey(t *testing.T) {
	a := newAuthority(t, domain)
	us := issue(t, a, "a")
	from := save(t, us)
	good, box, leaf := get(t, from, "pq.key"), get(t, from, "box.key"), get(t, from, "tls.crt")
	for _, c := range []struct {
		name  string
		file  string
		data  []byte
		mode  os.FileMode
		wraps error
		says  string
	}{
		{"readable by the group", "pq.key", good, 0o640, identity.ErrMode, "chmod 600"},
		{"readable by all", "pq.key", good, 0o644, identity.ErrMode, "chmod 600"},
		{"an X25519 key", "pq.key", box, 0o600, identity.ErrPEM, "belongs in box.key"},
		{"a certificate", "pq.key", leaf, 0o600, identity.ErrPEM, "CERTIFICATE"},
		{"another PEM type", "pq.key", bytes.ReplaceAll(good, []byte("PRIVATE KEY"), []byte("XWING KEY")), 0o600, identity.ErrPEM, "XWING KEY"},
		{"truncated", "pq.key", good[:len(good)/2], 0o600, identity.ErrPEM, "truncated"},
		{"empty", "pq.key", nil, 0o600, identity.ErrPEM, "empty"},
		{"two", "pq.key", append(bytes.Clone(good), good...), 0o600, identity.ErrPEM, "two keys"},
		{"in box.key", "box.key", good, 0o600, identity.ErrPEM, "belongs in pq.key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := save(t, us)
			id, events := load(t, dir)
			path := filepath.Join(dir, c.file)
			remove(t, dir, c.file)
			put(t, path, c.data, c.mode)
			if err := os.Chmod(path, c.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			_, err := identity.Load(dir)
			wantError(t, err, c.wraps, c.file, c.says)
			if bytes.Contains([]byte(err.Error()), bytes.Split(good, []byte("\n"))[1]) {
				t.Error("the error holds the key")
			}
			for failed := false; !failed; { // that the file was away for a moment may be seen too
				err := await(t, events, identity.ReloadFailed).Err
				failed = bytes.Contains([]byte(err.Error()), []byte(c.says))
			}
			pairs(t, id, us.SealKeys()[0])
		})
	}
	dir := save(t, us)
	if err := os.Chmod(filepath.Join(dir, "pq.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tls.key", "box.key"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	id, _ := load(t, dir, identity.GroupReadable())
	pairs(t, id, us.SealKeys()[0])
}

func BenchmarkSealKeys(b *testing.B) {
	id := issue(b, newAuthority(b, domain), "a")
	for b.Loop() {
		id.SealKeys()
	}
}
