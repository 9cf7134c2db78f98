package identity_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

func TestIssue(t *testing.T) {
	a := newAuthority(t, domain)
	if a.TrustDomain() != domain {
		t.Errorf("trust domain %q", a.TrustDomain())
	}
	for _, service := range []string{"greeter", "go.micro.srv.greeter", "shop/greeter"} {
		id := issue(t, a, service)
		if want := "spiffe://shop.internal/" + service; id.ID() != want {
			t.Errorf("got %s; want %s", id.ID(), want)
		}
		peer, until, err := issue(t, a, "other").Verify(chain(t, id))
		if err != nil || peer.Service != service || peer.TrustDomain != domain || peer.ID != id.ID() || peer.String() != id.ID() {
			t.Errorf("got %+v, %v", peer, err)
		}
		if peer != (identity.Peer{}) && !peer.Certificate.Equal(id.Peer().Certificate) {
			t.Error("we see ourselves otherwise than a peer does")
		}
		if left := time.Until(until); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("valid for %v", left)
		}
	}
	id := issue(t, a, "a", identity.ValidFor(time.Hour), identity.DNSNames("a.shop.internal"), identity.Ed25519())
	_, until, err := id.Verify(chain(t, id))
	if err != nil || time.Until(until) > time.Hour {
		t.Errorf("until %v, %v", until, err)
	}
}

func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t, domain)
	for name, service := range map[string]string{
		"service name with /../": "a/../b",
		"control characters":     "a\x07b",
		"over 255 bytes":         strings.Repeat("a", 256),
		"empty":                  "",
		"leading slash":          "/a",
		"trailing slash":         "a/",
		"percent":                "a%2e",
		"a whole ID":             "spiffe://shop.internal/a",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Issue(service)
			wantError(t, err, identity.ErrInvalidName)
		})
	}
	for name, opt := range map[string]identity.IssueOption{
		"no lifetime":       identity.ValidFor(0),
		"negative lifetime": identity.ValidFor(-time.Hour),
		"DNS name":          identity.DNSNames("a b"),
		"succeeds another":  identity.Renews(issue(t, a, "b")),
		"succeeds nobody":   identity.Renews(&identity.Identity{}),
		"trusts twice":      identity.Trusting(a),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Issue("a", opt)
			wantError(t, err, nil)
		})
	}
	for _, name := range []string{"", "Shop", "shop.", "10.0.0.1", "a/b", strings.Repeat("a", 256)} {
		_, err := identity.NewAuthority(name)
		wantError(t, err, identity.ErrInvalidName)
	}
	_, err := identity.NewAuthority(domain, identity.AuthorityValidFor(-time.Second))
	wantError(t, err, nil)
}

func TestLeafEndsWithAuthority(t *testing.T) {
	a, err := identity.NewAuthority(domain, identity.AuthorityValidFor(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	id := issue(t, a, "a", identity.ValidFor(48*time.Hour))
	if end := id.Peer().Certificate.NotAfter; end.After(a.Certificate().NotAfter) {
		t.Errorf("the leaf ends at %v, the authority at %v", end, a.Certificate().NotAfter)
	}
}

func TestRenews(t *testing.T) {
	a := newAuthority(t, domain)
	old := issue(t, a, "a", identity.DNSNames("a.shop.internal"))
	next := issue(t, a, "a", identity.Renews(old))
	if !samePair(t, next.SealKeys()[0], old.SealKeys()[0]) {
		t.Error("a box key is another")
	}
	if !next.Peer().Serves("a.shop.internal") {
		t.Error("the DNS name is gone")
	}
	if chain(t, next)[0].Equal(chain(t, old)[0]) {
		t.Error("the leaf is the same")
	}
}

func TestRevokeInMemory(t *testing.T) {
	a := newAuthority(t, domain)
	us, them, third := issue(t, a, "a"), issue(t, a, "b"), issue(t, a, "c")
	changed := make(chan struct{}, 10)
	us.OnChange(func() { changed <- struct{}{} })
	if err := a.Revoke(them); err != nil {
		t.Fatal(err)
	}
	_, _, err := us.Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked, them.ID())
	if _, _, err := us.Verify(chain(t, third)); err != nil {
		t.Error(err)
	}
	if got := us.Generation(); got != 2 {
		t.Errorf("generation %d; want 2", got)
	}
	<-changed
	_, _, err = issue(t, a, "d").Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked)
	successor := issue(t, a, "b", identity.Renews(them))
	if _, _, err := us.Verify(chain(t, successor)); err != nil {
		t.Errorf("a new certificate of a revoked one: %v", err)
	}
}

func TestRevokeReachesFederated(t *testing.T) {
	shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
	us := issue(t, shop, "a", identity.Trusting(partner))
	them := issue(t, partner, "a")
	peer, _, err := us.Verify(chain(t, them))
	if err != nil || peer.Home() {
		t.Fatalf("got %v, home %v, %v", peer, peer.Home(), err)
	}
	_, _, err = them.Verify(chain(t, us))
	wantError(t, err, identity.ErrUntrusted, "trust/shop.internal.crt")
	if err := partner.Revoke(them); err != nil {
		t.Fatal(err)
	}
	_, _, err = us.Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked)
}

func TestRevokeRefuses(t *testing.T) {
	a := newAuthority(t, domain)
	wantError(t, a.Revoke(nil), identity.ErrNoIdentity)
	wantError(t, a.Revoke(&identity.Identity{}), identity.ErrNoIdentity)
	wantError(t, a.RevokeCertificate(nil), nil)
	wantError(t, a.Revoke(issue(t, newAuthority(t, domain), "a")), identity.ErrUntrusted, "another CA")
}

func TestRevokeAfterClose(t *testing.T) {
	a := newAuthority(t, domain)
	us, them := issue(t, a, "a"), issue(t, a, "b")
	them.Close()
	if err := a.Revoke(them); err != nil {
		t.Fatal(err)
	}
	if us.Generation() != 2 || them.Generation() != 1 {
		t.Errorf("generations %d and %d", us.Generation(), them.Generation())
	}
}

func TestAuthorityOnDisk(t *testing.T) {
	a := newAuthority(t, domain)
	before := issue(t, a, "a")
	if err := a.Revoke(before); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keys", "authority")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	wantError(t, newAuthority(t, domain).Save(dir), fs.ErrExist, "another directory")
	loaded, err := identity.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	us := issue(t, loaded, "us")
	_, _, err = us.Verify(chain(t, before))
	wantError(t, err, identity.ErrRevoked)

	// Both write to one directory, and neither loses what the other revoked.
	first, second := issue(t, a, "b"), issue(t, loaded, "c")
	if err := errors.Join(a.Revoke(first), loaded.Revoke(second)); err != nil {
		t.Fatal(err)
	}
	again, err := identity.LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	judge := issue(t, again, "judge")
	for _, id := range []*identity.Identity{before, first, second} {
		_, _, err := judge.Verify(chain(t, id))
		wantError(t, err, identity.ErrRevoked)
	}
	if _, err := identity.LoadAuthority(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestRevokeUnwritable: the revocation is in force here even if the file cannot be
// written, and the error says so.
func TestRevokeUnwritable(t *testing.T) {
	a := newAuthority(t, domain)
	dir := filepath.Join(t.TempDir(), "authority")
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "ca.crl"), []byte("garbage"), 0o644)
	us, them := issue(t, a, "a"), issue(t, a, "b")
	wantError(t, a.Revoke(them), identity.ErrPEM, "ca.crl")
	_, _, err := us.Verify(chain(t, them))
	wantError(t, err, identity.ErrRevoked)
}
