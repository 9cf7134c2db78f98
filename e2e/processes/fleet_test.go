package processes

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// keys is a directory that the signet command works on.
type keys struct {
	t    *testing.T
	root string
}

// newKeys makes an authority and identities with the command.
func newKeys(t *testing.T, services ...string) keys {
	t.Helper()
	k := keys{t, filepath.Join(t.TempDir(), "keys")}
	k.signet("init", "--trust-domain", "shop.internal", k.root)
	for _, s := range services {
		k.signet("issue", "--keys", k.root, s)
	}
	return k
}

// signet runs the command, which must succeed.
func (k keys) signet(args ...string) {
	k.t.Helper()
	p := start(k.t, nil, "signet", args...)
	if status := p.exit(); status != 0 {
		k.t.Fatalf("signet %s: exit status %d", strings.Join(args, " "), status)
	}
}

func (k keys) dir(service string) string { return filepath.Join(k.root, service) }

// as is the environment that makes a program secure.
func (k keys) as(service string) []string {
	return []string{"MICRO_TRANSPORT=quic", "SIGNET_IDENTITY=" + k.dir(service)}
}

// greeter is a running examples/greeter.
type greeter struct {
	*process
	address string
}

var listening = regexp.MustCompile(`Transport \[(\w+)\] Listening on (\S+)`)

// startGreeter waits until it listens on address.
func startGreeter(t *testing.T, env []string, address string) greeter {
	t.Helper()
	p := start(t, append(env, "MICRO_SERVER_ADDRESS="+address), "greeter")
	line := p.await(0, 1, "Listening on")
	found := listening.FindStringSubmatch(line)
	if found == nil || found[1] != "quic" {
		t.Fatalf("greeter listens otherwise than over quic: %s", line)
	}
	return greeter{p, found[2]}
}

// anyPort lets the system choose.
const anyPort = "127.0.0.1:0"

// startCaller runs examples/caller against a greeter.
func startCaller(t *testing.T, env []string, g greeter, args ...string) *process {
	t.Helper()
	return start(t, append(env, "GREETER_ADDRESS="+g.address), "caller", args...)
}

// calls counts what greeter's handlers were called for.
func (g greeter) calls() int { return strings.Count(g.text(), " called by ") }
