package processes

import (
	"context"
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	quicgo "github.com/quic-go/quic-go"
)

// TestRenew: a running greeter shows its new certificate, and no call fails.
func TestRenew(t *testing.T) {
	k := newKeys(t, "greeter", "caller")
	g := startGreeter(t, k.as("greeter"), anyPort)
	c := startCaller(t, k.as("caller"), g, "--every", "2ms")
	c.await(0, 20, "call: Hello John")
	was := serialOf(t, k.dir("greeter"))
	if shown := shownSerial(t, g.address); shown != was {
		t.Fatalf("greeter shows certificate %s, not %s", shown, was)
	}

	k.signet("renew", k.dir("greeter"))
	want := serialOf(t, k.dir("greeter"))
	if want == was {
		t.Fatal("the certificate was not renewed")
	}
	poll(t, "greeter shows its new certificate", func() bool { return shownSerial(t, g.address) == want })
	c.await(c.mark(), 20, "call: Hello John")

	k.signet("renew", k.dir("caller"))
	c.await(c.mark(), 20, "call: Hello John")
	if strings.Contains(c.text(), "failed") {
		t.Error("calls failed")
	}
}

// TestRevoke: what a revoked caller has open ends, and it gets nothing new. The
// caller's keys were carried off, to where no revocation list reaches, so that it
// is greeter who refuses.
func TestRevoke(t *testing.T) {
	k := newKeys(t, "greeter", "caller", "other")
	thief := keys{t, t.TempDir()}
	if err := os.Rename(k.dir("caller"), thief.dir("caller")); err != nil {
		t.Fatal(err)
	}
	g := startGreeter(t, k.as("greeter"), anyPort)
	calls := startCaller(t, thief.as("caller"), g, "--every", "5ms")
	stream := startCaller(t, thief.as("caller"), g, "--every", "5ms", "--stream")
	other := startCaller(t, k.as("other"), g, "--every", "5ms")
	calls.await(0, 5, "call: Hello John")
	stream.await(0, 5, "stream: Hello John")

	k.signet("revoke", "--keys", k.root, "caller")
	if status := stream.exit(); status != 1 {
		t.Errorf("the open stream ended with exit status %d, want 1", status)
	}
	if !strings.Contains(stream.text(), "revoked") {
		t.Error("the open stream does not say why it ended")
	}
	calls.await(0, 1, "revoked")
	mark := calls.mark()
	calls.await(mark, 3, "failed:")
	if strings.Contains(calls.since(mark), "call: Hello") {
		t.Error("calls of the revoked caller go through")
	}
	mark = other.mark()
	other.await(mark, 5, "call: Hello John")
	if strings.Contains(other.text(), "failed") {
		t.Error("calls of another caller failed")
	}
}

// TestCrash: a caller that goes on calling finds the greeter that was restarted
// at the same port.
func TestCrash(t *testing.T) {
	k := newKeys(t, "greeter", "caller")
	g := startGreeter(t, k.as("greeter"), anyPort)
	c := startCaller(t, k.as("caller"), g, "--every", "5ms")
	c.await(0, 5, "call: Hello John")

	g.kill()
	again := startGreeter(t, k.as("greeter"), g.address)
	began := time.Now()
	again.await(0, 5, "called by spiffe://shop.internal/caller")
	c.await(c.mark(), 5, "call: Hello John")
	t.Logf("calls went through %v after the restart", time.Since(began).Round(time.Millisecond))
}

// TestGracefulStop: a greeter that is told to stop first answers what it was
// asked, and callers find the one that takes its port.
func TestGracefulStop(t *testing.T) {
	k := newKeys(t, "greeter", "caller", "slow")
	g := startGreeter(t, k.as("greeter"), anyPort)
	steady := startCaller(t, k.as("caller"), g, "--every", "5ms")
	steady.await(0, 5, "call: Hello John")
	slow := startCaller(t, k.as("slow"), g, "--every", "10m", "--wait", "1s")
	g.await(0, 1, "called by spiffe://shop.internal/slow")

	g.terminate()
	slow.await(0, 1, "call: Hello John")
	if status := g.exit(); status != 0 {
		t.Errorf("greeter: exit status %d", status)
	}
	again := startGreeter(t, k.as("greeter"), g.address)
	began := time.Now()
	again.await(0, 5, "called by spiffe://shop.internal/caller")
	steady.await(steady.mark(), 5, "call: Hello John")
	t.Logf("calls went through %v after the restart", time.Since(began).Round(time.Millisecond))
}

// serialOf is the serial number of the certificate in an identity's directory.
func serialOf(t *testing.T, dir string) string {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	return id.Peer().Certificate.SerialNumber.Text(16)
}

// shownSerial is that of the certificate that a listener shows to whoever asks.
// In TLS 1.3 it does so before it learns that the client has none.
func shownSerial(t *testing.T, address string) string {
	t.Helper()
	serial := ""
	conf := &tls.Config{
		InsecureSkipVerify: true, // looks at the certificate, and sends nothing
		NextProtos:         []string{"signet/1"},
		VerifyConnection: func(cs tls.ConnectionState) error {
			serial = cs.PeerCertificates[0].SerialNumber.Text(16)
			return nil
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quicgo.DialAddr(ctx, address, conf, nil)
	if err == nil {
		_ = conn.CloseWithError(0, "")
	}
	if serial == "" {
		t.Fatalf("no certificate from %s: %v", address, err)
	}
	return serial
}

// poll waits for what another process brings about.
func poll(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
