package identity_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

func TestReloadRevocation(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "us"), issue(t, a, "them")
	dir := save(t, us)
	id, events := load(t, dir)
	card, err := them.Card()
	if err != nil {
		t.Fatal(err)
	}
	if err := id.AddCard(card); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 10)
	id.OnChange(func() { changed <- struct{}{} })
	if err := a.Revoke(them); err != nil {
		t.Fatal(err)
	}
	if err := us.Save(dir); err != nil {
		t.Fatal(err)
	}
	await(t, events, identity.Reloaded)
	<-changed
	_, _, err = id.Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked)
	if keys := id.Directory().Keys("them"); len(keys) != 0 {
		t.Error("still sealed to a revoked peer")
	}
	wantError(t, id.AddCard(card), identity.ErrRevoked)
}

// TestReloadSelfRevoked: that we are revoked ourselves does not keep the rest of
// the list from taking effect, and a service does not start with such a leaf.
func TestReloadSelfRevoked(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "us"), issue(t, a, "them")
	dir := save(t, us)
	id, events := load(t, dir)
	if err := errors.Join(a.Revoke(us), a.Revoke(them), us.Save(dir)); err != nil {
		t.Fatal(err)
	}
	wantError(t, await(t, events, identity.SelfRevoked).Err, identity.ErrRevoked)
	_, _, err := id.Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked)
	_, err = identity.Load(dir)
	wantError(t, err, identity.ErrRevoked, "tls.crt")
}

func TestReloadFederation(t *testing.T) {
	shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
	dir := save(t, issue(t, shop, "a"))
	id, events := load(t, dir)
	them := issue(t, partner, "a")
	_, _, err := id.Verify(chain(t, them))
	wantError(t, err, identity.ErrUntrusted, "trust/partner.org.crt")
	put(t, filepath.Join(dir, "trust", "partner.org.crt"), keys.EncodeCertificates(partner.Certificate()), 0o644)
	await(t, events, identity.Reloaded)
	peer, _, err := id.Verify(chain(t, them))
	if err != nil || peer.TrustDomain != "partner.org" || peer.Serves("a") {
		t.Errorf("got %v, %v", peer, err)
	}
	if n := len(id.TrustAnchors()); n != 2 {
		t.Errorf("%d CAs", n)
	}
	if err := os.Remove(filepath.Join(dir, "trust", "partner.org.crt")); err != nil {
		t.Fatal(err)
	}
	await(t, events, identity.Reloaded)
	_, _, err = id.Verify(chain(t, them))
	wantError(t, err, identity.ErrUntrusted)
}

// TestKubernetes: a mounted secret is a directory of links to ..data, itself a link
// that is replaced by a rename.
func TestKubernetes(t *testing.T) {
	a := newAuthority(t, domain)
	old := issue(t, a, "a")
	mount := t.TempDir()
	version := func(name string, id *identity.Identity) {
		dir := filepath.Join(mount, name)
		if err := id.Save(dir); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "trust", "partner.org.crt"), keys.EncodeCertificates(newAuthority(t, "partner.org").Certificate()), 0o644)
		for _, key := range []string{"tls.key", "box.key", "pq.key"} {
			if err := os.Chmod(filepath.Join(dir, key), 0o440); err != nil {
				t.Fatal(err)
			}
		}
		temp := filepath.Join(mount, "..data_tmp")
		if err := errors.Join(os.Symlink(name, temp), os.Rename(temp, filepath.Join(mount, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..2024_01", old)
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt", "ca.crl", "box.key", "pq.key", "trust"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := identity.Load(mount)
	wantError(t, err, identity.ErrMode, "chmod 600")

	id, events := load(t, mount, identity.GroupReadable(), identity.RereadEvery(time.Hour))
	for i, name := range []string{"..2024_02", "..2024_03"} {
		next := issue(t, a, "a", identity.Renews(old))
		version(name, next)
		await(t, events, identity.Reloaded)
		if !chain(t, id)[0].Equal(chain(t, next)[0]) {
			t.Error("the old leaf is in force")
		}
		if got := id.Generation(); got != uint64(i+2) {
			t.Errorf("generation %d", got)
		}
	}
}

// TestDirectoryReplaced: no event tells of that; the timer does.
func TestDirectoryReplaced(t *testing.T) {
	a := newAuthority(t, domain)
	dir := save(t, issue(t, a, "a"))
	id, events := load(t, dir, identity.RereadEvery(10*time.Millisecond))
	next := issue(t, a, "a")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	await(t, events, identity.Reloaded)
	if !chain(t, id)[0].Equal(chain(t, next)[0]) {
		t.Error("the old leaf is in force")
	}
}

func TestBoxKeys(t *testing.T) {
	a := newAuthority(t, domain)
	first := issue(t, a, "a")
	dir := save(t, first)
	id, events := load(t, dir)
	hasty, hastyEvents := load(t, dir, identity.BoxKeyGrace(0))
	second := issue(t, a, "a")
	if err := second.Save(dir); err != nil {
		t.Fatal(err)
	}
	await(t, events, identity.Reloaded)
	got := id.BoxKeys()
	if len(got) != 2 || !got[0].Equal(second.BoxKeys()[0]) || !got[1].Equal(first.BoxKeys()[0]) {
		t.Errorf("%d box keys", len(got))
	}
	await(t, hastyEvents, identity.Reloaded)
	if n := len(hasty.BoxKeys()); n != 1 {
		t.Errorf("%d box keys without grace", n)
	}
	// A key that comes back is current, and not retired as well.
	if err := first.Save(dir); err != nil {
		t.Fatal(err)
	}
	await(t, events, identity.Reloaded)
	if got := id.BoxKeys(); len(got) != 2 || !got[0].Equal(first.BoxKeys()[0]) {
		t.Errorf("%d box keys", len(got))
	}
}

func TestBoxKeyOfTheProcess(t *testing.T) {
	a := newAuthority(t, domain)
	dir := save(t, issue(t, a, "a"))
	if err := os.Remove(filepath.Join(dir, "box.key")); err != nil {
		t.Fatal(err)
	}
	id, events := load(t, dir)
	made := id.BoxKeys()[0]
	next := issue(t, a, "a")
	put(t, filepath.Join(dir, "tls.key"), get(t, save(t, next), "tls.key"), 0o600)
	put(t, filepath.Join(dir, "tls.crt"), get(t, save(t, next), "tls.crt"), 0o644)
	await(t, events, identity.Reloaded)
	if got := id.BoxKeys(); len(got) != 1 || !got[0].Equal(made) {
		t.Errorf("%d box keys", len(got))
	}
	put(t, filepath.Join(dir, "box.key"), get(t, save(t, next), "box.key"), 0o600)
	await(t, events, identity.Reloaded)
	if got := id.BoxKeys(); len(got) != 2 || !got[0].Equal(next.BoxKeys()[0]) || !got[1].Equal(made) {
		t.Errorf("%d box keys", len(got))
	}
}

func TestExpiryWarnings(t *testing.T) {
	a := newAuthority(t, domain)
	ca := signer(t, a)
	lifetime := func(before, after time.Duration) string {
		dir := filepath.Join(t.TempDir(), "identity")
		rewrite(t, dir, ca, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-before), time.Now().Add(after)
		})
		return dir
	}
	t.Run("past two thirds", func(t *testing.T) {
		var log syncBuffer
		id, events := load(t, lifetime(70*time.Minute, 30*time.Minute), identity.RereadEvery(10*time.Millisecond), identity.Logger(slog.New(slog.NewTextHandler(&log, nil))))
		e := await(t, events, identity.ExpiresSoon)
		wantError(t, e.Err, nil, "two thirds", "renew it")
		await(t, events, identity.ExpiresSoon)
		if _, err := id.TLSCertificate(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "expires soon"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
	})
	t.Run("ended", func(t *testing.T) {
		id, events := load(t, lifetime(time.Hour, 2*time.Second), identity.RereadEvery(10*time.Millisecond))
		peers := issue(t, a, "judge")
		presented := chain(t, id)
		await(t, events, identity.Expired)
		_, err := id.TLSCertificate()
		wantError(t, err, identity.ErrExpired, "ended at", "now is")
		_, err = id.Sign("test")
		wantError(t, err, identity.ErrExpired)
		_, err = id.Card()
		wantError(t, err, identity.ErrExpired)
		_, _, err = peers.Verify(presented)
		wantError(t, err, identity.ErrExpired)
	})
	t.Run("in the first two thirds", func(t *testing.T) {
		id, events := load(t, lifetime(60*time.Minute, 40*time.Minute))
		id.Close()
		select {
		case e := <-events:
			t.Errorf("got %v", e)
		default:
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
