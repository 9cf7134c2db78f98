package processes

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNoCodeChange: two ordinary programs, made secure by their environment.
func TestNoCodeChange(t *testing.T) {
	k := newKeys(t, "greeter", "caller")
	g := startGreeter(t, k.as("greeter"), anyPort)
	c := startCaller(t, k.as("caller"), g)
	if status := c.exit(); status != 0 {
		t.Fatalf("caller: exit status %d", status)
	}
	const want = "calling greeter over quic\ncall: Hello John\nstream: Hello Ann\nstream: Hello Bob\nstream: Hello Cy\n"
	if got := c.text(); got != want {
		t.Errorf("caller wrote %q, want %q", got, want)
	}
	g.await(0, 1, "Greeter.Hello called by spiffe://shop.internal/caller")
	g.await(0, 1, "Greeter.Chat called by spiffe://shop.internal/caller")
	if conn, err := net.DialTimeout("tcp", g.address, time.Second); err == nil {
		_ = conn.Close()
		t.Errorf("something answers on TCP at %s", g.address)
	}
}

// TestFlag: the same by go-micro's flag instead of its environment variable.
func TestFlag(t *testing.T) {
	k := newKeys(t, "greeter", "caller")
	g := startGreeter(t, k.as("greeter"), anyPort)
	c := start(t, []string{"SIGNET_IDENTITY=" + k.dir("caller")}, "caller", "--transport", "quic", "--address", g.address)
	if status := c.exit(); status != 0 {
		t.Fatalf("caller: exit status %d", status)
	}
	g.await(0, 1, "called by spiffe://shop.internal/caller")
}

// TestUnusableIdentity: a program that is told to be secure, and cannot be, does
// not run, and says why.
func TestUnusableIdentity(t *testing.T) {
	readable := func(t *testing.T) []string {
		k := newKeys(t, "greeter")
		if err := os.Chmod(filepath.Join(k.dir("greeter"), "tls.key"), 0o644); err != nil {
			t.Fatal(err)
		}
		return k.as("greeter")
	}
	for name, c := range map[string]struct {
		env  func(*testing.T) []string
		want []string
	}{
		"not given": {
			func(*testing.T) []string { return []string{"MICRO_TRANSPORT=quic"} },
			[]string{"no identity", "SIGNET_IDENTITY"},
		},
		"not there": {
			func(t *testing.T) []string {
				return []string{"MICRO_TRANSPORT=quic", "SIGNET_IDENTITY=" + t.TempDir()}
			},
			[]string{"tls.crt", "signet issue"},
		},
		"key readable by others": {readable, []string{"tls.key", "chmod 600"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := c.env(t)
			g := start(t, append(env, "MICRO_SERVER_ADDRESS="+anyPort), "greeter")
			refused(t, g, c.want...)
			if strings.Contains(g.text(), "Listening") {
				t.Error("greeter listened")
			}
			refused(t, start(t, append(env, "GREETER_ADDRESS=127.0.0.1:9"), "caller"), c.want...)
		})
	}
}

// refused expects a process to end with status 1 and to say why.
func refused(t *testing.T, p *process, want ...string) {
	t.Helper()
	if status := p.exit(); status != 1 {
		t.Errorf("%s: exit status %d, want 1", p.name, status)
	}
	for _, text := range want {
		if !strings.Contains(p.text(), text) {
			t.Errorf("%s does not say %q", p.name, text)
		}
	}
	if strings.Contains(p.text(), "panic") || strings.Contains(p.text(), "PRIVATE KEY") {
		t.Errorf("%s wrote what it should not", p.name)
	}
}

// TestStrangers: who is not whom it should be gets no handler to run.
func TestStrangers(t *testing.T) {
	k := newKeys(t, "greeter", "caller", "billing")
	g := startGreeter(t, k.as("greeter"), anyPort)

	t.Run("caller of another authority", func(t *testing.T) {
		other := newKeys(t, "caller")
		refused(t, startCaller(t, other.as("caller"), g), "quic:", "ca.crt")
	})
	t.Run("caller of another authority that trusts greeter's", func(t *testing.T) {
		other := newKeys(t, "caller")
		// An identity's own authority must be among those it trusts, so both are.
		trust(t, filepath.Join(other.dir("caller"), "ca.crt"), filepath.Join(k.dir("greeter"), "ca.crt"))
		refused(t, startCaller(t, other.as("caller"), g), "refused us", "does not trust the CA")
	})
	t.Run("caller over http", func(t *testing.T) {
		p := startCaller(t, nil, g)
		refused(t, p, "calling greeter over http")
	})
	if n := g.calls(); n != 0 {
		t.Errorf("greeter's handlers ran %d times", n)
	}

	t.Run("another member in greeter's place", func(t *testing.T) {
		impostor := startGreeter(t, k.as("billing"), anyPort)
		refused(t, startCaller(t, k.as("caller"), impostor), "wrong service", "spiffe://shop.internal/billing")
		if n := impostor.calls(); n != 0 {
			t.Errorf("the impostor's handlers ran %d times", n)
		}
	})
	t.Run("the caller itself, as a control", func(t *testing.T) {
		if status := startCaller(t, k.as("caller"), g).exit(); status != 0 {
			t.Errorf("exit status %d", status)
		}
	})
}

// trust appends the certificates of one bundle to another.
func trust(t *testing.T, bundle, more string) {
	t.Helper()
	var all []byte
	for _, name := range []string{bundle, more} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	if err := os.WriteFile(bundle, all, 0o644); err != nil {
		t.Fatal(err)
	}
}
