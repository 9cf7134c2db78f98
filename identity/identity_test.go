package identity_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// TestNothingPrintsKeys looks for the bytes of private keys in whatever the types
// print as.
func TestNothingPrintsKeys(t *testing.T) {
	a := newAuthority(t, domain)
	for _, opts := range [][]identity.IssueOption{nil, {identity.Ed25519()}} {
		id := issue(t, a, "a", opts...)
		cert, err := id.TLSCertificate()
		if err != nil {
			t.Fatal(err)
		}
		var log syncBuffer
		logger := slog.New(slog.NewJSONHandler(&log, nil))
		logger.Info("x", "id", id, "authority", a, "key", cert.PrivateKey, "seal", id.SealKeys())
		printed := []string{log.String()}
		for _, value := range []any{
			id, a, cert.PrivateKey, cert, *cert,
			struct{ ID *identity.Identity }{id}, struct{ inner *identity.Identity }{id},
			struct{ inner any }{cert.PrivateKey}, []any{id, a, cert.PrivateKey},
			id.Peer(), id.Directory(),
			id.SealKeys(), id.SealKeys()[0], &id.SealKeys()[0],
			struct{ Key identity.SealKey }{id.SealKeys()[0]},
		} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				printed = append(printed, fmt.Sprintf(verb, value))
			}
			if b, err := json.Marshal(value); err == nil {
				printed = append(printed, string(b))
			}
		}
		for _, secret := range secretsOf(t, id, a) {
			for _, form := range []string{
				fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%q", secret),
				strings.Trim(fmt.Sprint(secret), "[]"), fmt.Sprintf("%#v", secret),
			} {
				for _, text := range printed {
					if strings.Contains(text, form) {
						t.Fatalf("a key is in %q", text)
					}
				}
			}
		}
	}
	id := issue(t, a, "a")
	for text, want := range map[string]string{
		fmt.Sprintf("%v %+v %#v %s", id, id, id, id): strings.TrimSpace(strings.Repeat("spiffe://shop.internal/a ", 4)),
		fmt.Sprintf("%v %#v", a, a):                  "authority of shop.internal authority of shop.internal",
		fmt.Sprint((*identity.Authority)(nil)):       "no authority",
		fmt.Sprint((*identity.Identity)(nil)):        "",
	} {
		if text != want {
			t.Errorf("prints %q; want %q", text, want)
		}
	}
}

// secretsOf reads the private keys from the files, since nothing else gives them.
func secretsOf(t *testing.T, id *identity.Identity, a *identity.Authority) (secrets [][]byte) {
	t.Helper()
	dir := t.TempDir()
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := a.Save(filepath.Join(dir, "authority")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tls.key", "box.key", "pq.key", "authority/ca.key"} {
		pemData := get(t, dir, name)
		secrets = append(secrets, privateBytes(t, pemData))
	}
	return secrets
}

// TestZeroAndClosed: neither panics, and neither lets anything through.
func TestZeroAndClosed(t *testing.T) {
	a := newAuthority(t, domain)
	good := chain(t, issue(t, a, "b"))
	card, err := issue(t, a, "b").Card()
	if err != nil {
		t.Fatal(err)
	}
	closed := issue(t, a, "a")
	closed.Close()
	for _, c := range []struct {
		name string
		id   *identity.Identity
		want error
	}{
		{"nil", nil, identity.ErrNoIdentity},
		{"zero", &identity.Identity{}, identity.ErrNoIdentity},
		{"closed", closed, identity.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.id.TLSCertificate()
			wantError(t, err, c.want)
			_, _, err = c.id.Verify(good)
			wantError(t, err, c.want)
			_, err = c.id.Sign("test")
			wantError(t, err, c.want)
			_, err = c.id.Card()
			wantError(t, err, c.want)
			_, err = c.id.CardWithoutPQ()
			wantError(t, err, c.want)
			wantError(t, c.id.AddCard(card), c.want)
			wantError(t, c.id.Save(t.TempDir()), c.want)
			if n := len(c.id.BoxKeys()) + len(c.id.SealKeys()) + len(c.id.TrustAnchors()); n != 0 || !c.id.TrustPool().Equal(x509.NewCertPool()) {
				t.Errorf("%d keys and CAs", n)
			}
			c.id.OnChange(func() { t.Error("called") })()
			if c.id.Reloads() != (identity.Reloads{}) {
				t.Error("reloads are counted")
			}
			for range 2 {
				if err := c.id.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if closed.ID() != "spiffe://shop.internal/a" || closed.Generation() != 1 {
		t.Error("a closed identity has forgotten who it was")
	}
}

func TestTrustPool(t *testing.T) {
	shop, partner := newAuthority(t, domain), newAuthority(t, "partner.org")
	id := issue(t, shop, "a", identity.Trusting(partner))
	want := x509.NewCertPool()
	want.AddCert(shop.Certificate())
	want.AddCert(partner.Certificate())
	got := id.TrustPool()
	if !got.Equal(want) {
		t.Error("the pool is not that of both CAs")
	}
	got.AddCert(newAuthority(t, "evil.org").Certificate())
	if !id.TrustPool().Equal(want) {
		t.Error("the pool that was handed out is the one in use")
	}
}

func TestTLSCertificateIsACopy(t *testing.T) {
	id := issue(t, newAuthority(t, domain), "a")
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	cert.Certificate[0], cert.PrivateKey = nil, nil
	again, err := id.TLSCertificate()
	if err != nil || again.Certificate[0] == nil || again.PrivateKey == nil {
		t.Error("what was handed out is what is in use")
	}
}

func TestOnChange(t *testing.T) {
	a := newAuthority(t, domain)
	revokeOne := func() {
		t.Helper()
		if err := a.Revoke(issue(t, a, "victim")); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("no overlap, none lost", func(t *testing.T) {
		id := issue(t, a, "a")
		var running, calls atomic.Int32
		release, seen := make(chan struct{}), make(chan uint64, 100)
		id.OnChange(func() {
			if running.Add(1) != 1 {
				t.Error("two calls at once")
			}
			calls.Add(1)
			<-release
			running.Add(-1)
			seen <- id.Generation()
		})
		for range 5 {
			revokeOne()
		}
		want := id.Generation()
		close(release)
		for got := uint64(0); got != want; {
			got = <-seen
		}
		if n := calls.Load(); n < 1 || n > 2 {
			t.Errorf("%d calls", n)
		}
	})
	t.Run("no call after cancel", func(t *testing.T) {
		id := issue(t, a, "a")
		var calls atomic.Int32
		cancel := id.OnChange(func() { calls.Add(1) })
		done := make(chan struct{}, 10)
		id.OnChange(func() { done <- struct{}{} })
		cancel()
		cancel()
		revokeOne()
		<-done
		if calls.Load() != 0 {
			t.Error("called after cancel")
		}
	})
	t.Run("no call after Close", func(t *testing.T) {
		id := issue(t, a, "a")
		id.OnChange(func() { t.Error("called after Close") })
		id.Directory().OnChange(func() { t.Error("called after Close") })
		id.Close()
		revokeOne()
		id.Directory().Bind("a:1", "spiffe://shop.internal/b", time.Now().Add(time.Hour))
	})
	t.Run("no call after Close, though one was due", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAuthority(t, domain) // on the clock of the bubble
			id, victim := issue(t, a, "a"), issue(t, a, "victim")
			var calls atomic.Int32
			release := make(chan struct{})
			id.OnChange(func() {
				calls.Add(1)
				<-release
			})
			if err := a.Revoke(victim); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := a.Revoke(issue(t, a, "another")); err != nil {
				t.Fatal(err)
			}
			id.Close()
			close(release)
			synctest.Wait()
			if n := calls.Load(); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	})
	t.Run("may do anything", func(t *testing.T) {
		id := issue(t, a, "a")
		done := make(chan struct{})
		var cancel func()
		ready := make(chan struct{})
		cancel = id.OnChange(func() {
			<-ready
			cancel()
			id.OnChange(func() {})()
			id.Verify(nil)
			id.Close()
			close(done)
		})
		close(ready)
		revokeOne()
		<-done
	})
	t.Run("close in an event of the files", func(t *testing.T) {
		us := issue(t, a, "a")
		dir := save(t, us)
		closed := make(chan error, 10)
		var id *identity.Identity
		ready := make(chan struct{})
		id, err := identity.Load(dir, identity.Logger(slog.New(slog.DiscardHandler)), identity.OnEvent(func(identity.Event) {
			<-ready
			closed <- id.Close()
		}))
		if err != nil {
			t.Fatal(err)
		}
		close(ready)
		revokeOne()
		if err := us.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	a := newAuthority(t, domain)
	us := issue(t, a, "us")
	dir := save(t, us)
	id, _ := load(t, dir, identity.RereadEvery(10*time.Millisecond))
	them := issue(t, a, "them")
	card, err := them.Card()
	if err != nil {
		t.Fatal(err)
	}
	presented := chain(t, them)
	var wg sync.WaitGroup
	for _, subject := range []*identity.Identity{id, us} {
		for range 4 {
			wg.Go(func() {
				for range 20 {
					subject.Verify(presented)
					subject.TLSCertificate()
					subject.Sign("test", []byte("x"))
					subject.BoxKeys()
					subject.SealKeys()
					subject.TrustPool()
					subject.AddCard(card)
					subject.Card()
					subject.OnChange(func() { subject.Generation() })()
					subject.Directory().Keys("them")
				}
			})
		}
	}
	wg.Go(func() {
		for range 5 {
			a.Revoke(issue(t, a, "victim"))
			us.Save(dir)
		}
	})
	wg.Wait()
	var closing sync.WaitGroup
	for range 4 {
		closing.Go(func() { id.Close() })
	}
	closing.Wait()
}

// TestOutsideKeys: leaves that other tools issue are RSA often enough.
func TestOutsideKeys(t *testing.T) {
	a := newAuthority(t, domain)
	ca := signer(t, a)
	judge := issue(t, a, "judge")
	for name, kind := range map[string]keys.Algorithm{"P-256": keys.P256, "Ed25519": keys.Ed25519, "RSA": keys.RSA2048} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "identity")
			leaf, key, err := ca.Issue(keys.Request{Service: "outside", Key: kind})
			if err != nil {
				t.Fatal(err)
			}
			trust, err := ca.NewTrust()
			if err != nil {
				t.Fatal(err)
			}
			joined, err := keys.NewTrust(trust)
			if err != nil {
				t.Fatal(err)
			}
			set := keys.Set{Chain: []*x509.Certificate{leaf}, Key: key, Trust: joined}
			if err := set.Write(dir); err != nil {
				t.Fatal(err)
			}
			id, _ := load(t, dir)
			card, err := id.Card()
			if err != nil {
				t.Fatal(err)
			}
			if err := judge.AddCard(card); err != nil {
				t.Error(err)
			}
			handshake(t, id, judge)
		})
	}
}

// TestErr: it says why an identity cannot be used.
func TestErr(t *testing.T) {
	var none *identity.Identity
	for name, id := range map[string]*identity.Identity{"nil": none, "zero": new(identity.Identity)} {
		if err := id.Err(); !errors.Is(err, identity.ErrNoIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
	id := issue(t, newAuthority(t, domain), "a")
	if err := id.Err(); err != nil {
		t.Errorf("open: %v", err)
	}
	if err := id.Close(); err != nil {
		t.Fatal(err)
	}
	if err := id.Err(); !errors.Is(err, identity.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
