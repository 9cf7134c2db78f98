package identity_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

// fromEnv is matched by one Close, like FromEnv itself.
func fromEnv(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func closeOnce(t testing.TB, ids ...*identity.Identity) {
	t.Helper()
	for _, id := range ids {
		if err := id.Close(); err != nil {
			t.Error(err)
		}
	}
}

func wantOpen(t *testing.T, id *identity.Identity) {
	t.Helper()
	if _, err := id.TLSCertificate(); err != nil {
		t.Errorf("want an open identity: %v", err)
	}
}

func wantClosed(t *testing.T, id *identity.Identity) {
	t.Helper()
	_, err := id.TLSCertificate()
	wantError(t, err, identity.ErrClosed)
}

func TestFromEnv(t *testing.T) {
	t.Setenv(identity.EnvDir, "")
	_, err := identity.FromEnv()
	wantError(t, err, identity.ErrNoIdentity, "SIGNET_IDENTITY")

	dir := save(t, issue(t, newAuthority(t, domain), "a"))
	t.Setenv(identity.EnvDir, dir)
	closeOnce(t, fromEnv(t))
	if err := os.Chmod(filepath.Join(dir, "tls.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = identity.FromEnv()
	wantError(t, err, identity.ErrMode)
	t.Setenv(identity.EnvGroupReadable, "true")
	closeOnce(t, fromEnv(t))
	t.Setenv(identity.EnvGroupReadable, "yes")
	_, err = identity.FromEnv()
	wantError(t, err, nil, "true or false")
}

// TestFromEnvShared: plugins that each ask the environment have one peer directory
// and one box key, also where no file holds that key, until the last has closed.
func TestFromEnvShared(t *testing.T) {
	dir := save(t, issue(t, newAuthority(t, domain), "a"))
	if err := os.Remove(filepath.Join(dir, "box.key")); err != nil {
		t.Fatal(err)
	}
	t.Setenv(identity.EnvDir, dir)
	first, second := fromEnv(t), fromEnv(t)
	if first != second || first.Directory() != second.Directory() || !first.BoxKeys()[0].Equal(second.BoxKeys()[0]) {
		t.Error("two calls, two identities")
	}
	closeOnce(t, first)
	wantOpen(t, second)
	third := fromEnv(t)
	if third != second {
		t.Error("after one Close of two the next call loaded another identity")
	}
	closeOnce(t, second)
	wantOpen(t, third)
	closeOnce(t, third)
	wantClosed(t, first)

	next := fromEnv(t)
	if next == first {
		t.Fatal("after the last Close the next call returned the closed identity")
	}
	wantOpen(t, next)
	closeOnce(t, first, first) // too often: nothing to do with the next
	wantOpen(t, next)
	again := fromEnv(t)
	if again != next {
		t.Error("a Close too many of a closed identity made the process forget the open one")
	}
	closeOnce(t, again)
	wantOpen(t, next)
	closeOnce(t, next)
	wantClosed(t, next)
}

// TestFromEnvAndLoad: an identity from Load has one owner, whatever the
// environment names.
func TestFromEnvAndLoad(t *testing.T) {
	dir := save(t, issue(t, newAuthority(t, domain), "a"))
	t.Setenv(identity.EnvDir, dir)
	shared := fromEnv(t)
	own, _ := load(t, dir)
	if own == shared {
		t.Fatal("Load returned what others share")
	}
	closeOnce(t, own, own)
	wantClosed(t, own)
	wantOpen(t, shared)
	closeOnce(t, shared)
	wantClosed(t, shared)
}

func TestFromEnvSettings(t *testing.T) {
	a := newAuthority(t, domain)
	one, two := save(t, issue(t, a, "one")), save(t, issue(t, a, "two"))
	type settings struct{ dir, groupReadable string }
	for _, c := range []struct {
		name     string
		from, to settings
		same     bool
		id       string
	}{
		{"another directory", settings{one, ""}, settings{two, ""}, false, "spiffe://shop.internal/two"},
		{"group-readable", settings{one, ""}, settings{one, "true"}, false, "spiffe://shop.internal/one"},
		{"no longer group-readable", settings{one, "true"}, settings{one, ""}, false, "spiffe://shop.internal/one"},
		{"false stands for nothing", settings{one, ""}, settings{one, "false"}, true, "spiffe://shop.internal/one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := func(s settings) {
				t.Setenv(identity.EnvDir, s.dir)
				t.Setenv(identity.EnvGroupReadable, s.groupReadable)
			}
			set(c.from)
			before := fromEnv(t)
			set(c.to)
			after := fromEnv(t)
			if (after == before) != c.same || after.ID() != c.id {
				t.Errorf("got %s, the one from before: %v", after, after == before)
			}
			set(c.from)
			back := fromEnv(t)
			if back != before {
				t.Error("what was open is not returned once the settings are what they were")
			}
			closeOnce(t, after, back)
			wantOpen(t, before)
			closeOnce(t, before)
			wantClosed(t, before)
			wantClosed(t, after)
		})
	}
}

// TestFromEnvFailure: what was wrong can be put right without a restart.
func TestFromEnvFailure(t *testing.T) {
	id := issue(t, newAuthority(t, domain), "a")
	dir := filepath.Join(t.TempDir(), "identity")
	t.Setenv(identity.EnvDir, dir)
	for range 2 {
		_, err := identity.FromEnv()
		wantError(t, err, os.ErrNotExist)
	}
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	loaded := fromEnv(t)
	closeOnce(t, loaded)
	wantClosed(t, loaded) // the calls that failed count for nothing
}

func TestFromEnvConcurrently(t *testing.T) {
	const callers = 16
	dir := save(t, issue(t, newAuthority(t, domain), "a"))
	t.Setenv(identity.EnvDir, dir)
	ids := make([]*identity.Identity, callers)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = identity.FromEnv(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids[1:] {
		if id != ids[0] {
			t.Error("two calls, two identities")
		}
	}
	for _, id := range ids[1:] {
		wg.Go(func() { id.Close() })
	}
	wg.Wait()
	wantOpen(t, ids[0])
	closeOnce(t, ids[0])
	wantClosed(t, ids[0])
}

// logTo has what Load logs handled by f until the test ends.
func logTo(t *testing.T, f func()) {
	t.Helper()
	// SetDefault of the standard handler does not undo what another did to log.
	was, output, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(was)
		log.SetOutput(output)
		log.SetFlags(flags)
	})
	slog.SetDefault(slog.New(handler{f}))
}

type handler struct{ f func() }

func (h handler) Enabled(context.Context, slog.Level) bool  { return true }
func (h handler) Handle(context.Context, slog.Record) error { h.f(); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h handler) WithGroup(string) slog.Handler             { return h }

// ageing is the directory of an identity that Load warns of.
func ageing(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "identity")
	rewrite(t, dir, signer(t, newAuthority(t, domain)), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-70*time.Minute), time.Now().Add(30*time.Minute)
	})
	return dir
}

// TestFromEnvSlowLogger: a load that is held up holds up only who waits for it.
func TestFromEnvSlowLogger(t *testing.T) {
	slow, other := ageing(t), save(t, issue(t, newAuthority(t, domain), "other"))
	entered, resume := make(chan struct{}), make(chan struct{})
	logTo(t, sync.OnceFunc(func() { close(entered); <-resume }))
	t.Setenv(identity.EnvDir, other)
	open := fromEnv(t)
	defer closeOnce(t, open)
	held := make(chan error, 1)
	t.Setenv(identity.EnvDir, slow)
	go func() {
		id, err := identity.FromEnv()
		held <- errors.Join(err, id.Close())
	}()
	<-entered
	t.Setenv(identity.EnvDir, other)
	done := make(chan struct{})
	go func() {
		defer close(done)
		id, err := identity.FromEnv()
		if err != nil || id != open {
			t.Errorf("got %v, %v", id, err)
		}
		closeOnce(t, id)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("a lock is held while the logger runs")
	}
	close(resume)
	<-done
	if err := <-held; err != nil {
		t.Error(err)
	}
}

// TestFromEnvPanic: a load that ends in a panic is not remembered either.
func TestFromEnvPanic(t *testing.T) {
	t.Setenv(identity.EnvDir, ageing(t))
	armed := true
	logTo(t, func() {
		if armed {
			panic("the user's logger")
		}
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = identity.FromEnv()
	}()
	armed = false
	closeOnce(t, fromEnv(t))
}
