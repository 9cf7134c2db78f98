package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"go.uber.org/goleak"
)

// follow loads a directory as a service does. The channel tells of each change.
func follow(t *testing.T, dir string) (*identity.Identity, <-chan struct{}) {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 16)
	cancel := id.OnChange(func() { changed <- struct{}{} })
	t.Cleanup(func() {
		cancel()
		if err := id.Close(); err != nil {
			t.Error(err)
		}
	})
	return id, changed
}

// checkLeaks fails the test if goroutines outlive its cleanups.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// await waits for changes until one brings what is wanted.
func await(t *testing.T, changed <-chan struct{}, what string, there func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for !there() {
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("not seen by a running service: %s", what)
		}
	}
}

func leafOf(t *testing.T, id *identity.Identity) *x509.Certificate {
	t.Helper()
	cert, err := id.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func TestRunningServiceSeesRenewal(t *testing.T) {
	checkLeaks(t)
	root := t.TempDir()
	dir := filepath.Join(root, "greeter")
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	mustRun(t, "issue", "--keys", root, "greeter")
	id, changed := follow(t, dir)
	before, box := leafOf(t, id), id.BoxKeys()[0]

	mustRun(t, "renew", dir)
	await(t, changed, "the new leaf", func() bool { return !leafOf(t, id).Equal(before) })
	if !id.BoxKeys()[0].Equal(box) {
		t.Error("renewal changed the box key")
	}
	if bytes.Equal(leafOf(t, id).RawSubjectPublicKeyInfo, before.RawSubjectPublicKeyInfo) {
		t.Error("renewal kept the leaf's key")
	}
}

func TestRunningServiceSeesRevocation(t *testing.T) {
	checkLeaks(t)
	root := t.TempDir()
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	mustRun(t, "issue", "--keys", root, "greeter")
	mustRun(t, "issue", "--keys", root, "billing")
	greeter, _ := follow(t, filepath.Join(root, "greeter"))
	billing, changed := follow(t, filepath.Join(root, "billing"))
	stolen := []*x509.Certificate{leafOf(t, greeter)}
	mustRun(t, "renew", filepath.Join(root, "greeter"))
	if _, _, err := billing.Verify(stolen); err != nil {
		t.Fatalf("before it was revoked: %v", err)
	}

	mustRun(t, "revoke", "--keys", root, "greeter")
	await(t, changed, "the revocation of a leaf that was renewed since", func() bool {
		_, _, err := billing.Verify(stolen)
		return errors.Is(err, identity.ErrRevoked)
	})
}

// Without a lock, commands that run at once would overwrite each other's entry in
// the ledger, and a leaf that is missing there is never revoked.
func TestCommandsAtOnceLoseNothing(t *testing.T) {
	root := t.TempDir()
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	const services = 12
	each := func(run func(service string)) {
		var group sync.WaitGroup
		for i := range services {
			group.Go(func() { run(fmt.Sprintf("service%d", i)) })
		}
		group.Wait()
	}
	each(func(service string) {
		if code, _, stderr := runCLI(t, "issue", "--keys", root, service); code != exitOK {
			t.Errorf("issue %s: %s", service, stderr)
		}
	})
	leaves, err := readLedger(filepath.Join(root, authorityDir), time.Now())
	if err != nil || len(leaves) != services {
		t.Fatalf("%d leaves in the ledger, error %v: want %d", len(leaves), err, services)
	}
	each(func(service string) {
		if code, _, stderr := runCLI(t, "revoke", "--keys", root, service); code != exitOK {
			t.Errorf("revoke %s: %s", service, stderr)
		}
	})
	for i := range services {
		dir := filepath.Join(root, fmt.Sprintf("service%d", i))
		if out := mustRun(t, "inspect", dir, "--json"); !strings.Contains(out, `"state": "revoked"`) {
			t.Errorf("%s is not revoked:\n%s", dir, out)
		}
	}
}

// Two that issue the same service at once must not leave a mixture.
func TestIssuingTwiceAtOnce(t *testing.T) {
	root := t.TempDir()
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	codes := make([]int, 6)
	var group sync.WaitGroup
	for i := range codes {
		group.Go(func() { codes[i], _, _ = runCLI(t, "issue", "--keys", root, "greeter") })
	}
	group.Wait()
	done := 0
	for _, code := range codes {
		if code == exitOK {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d of %d succeeded: want 1", done, len(codes))
	}
	mustRun(t, "doctor", filepath.Join(root, "greeter"))
}
