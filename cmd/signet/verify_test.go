package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/pernode"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

// fakeRegistry is a registry that a build of this program could hold.
type fakeRegistry struct {
	registry.Registry
	opts    registry.Options
	list    func() ([]*registry.Service, error)
	get     func(name string) ([]*registry.Service, error)
	perNode bool
	closed  bool
}

func (f *fakeRegistry) ListServices(...registry.ListOption) ([]*registry.Service, error) {
	return f.list()
}

func (f *fakeRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	var o registry.GetOptions
	for _, opt := range opts {
		opt(&o)
	}
	f.perNode = pernode.Asked(&o)
	return f.get(name)
}

func (f *fakeRegistry) Close() error { f.closed = true; return nil }

// install makes f known as the registry "fake".
func (f *fakeRegistry) install(t *testing.T) {
	t.Helper()
	cmd.DefaultRegistries["fake"] = func(opts ...registry.Option) registry.Registry {
		f.opts = *registry.NewOptions(opts...)
		return f
	}
	t.Cleanup(func() { delete(cmd.DefaultRegistries, "fake") })
}

// greeterKeys makes an identity directory.
func greeterKeys(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	mustRun(t, "issue", "--keys", root, "greeter")
	return filepath.Join(root, "greeter")
}

func signedGreeter(t *testing.T, dir string) *registry.Service {
	t.Helper()
	id, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer id.Close()
	s, err := registrationOf(id, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerifyAsksARegistry(t *testing.T) {
	checkLeaks(t)
	dir := greeterKeys(t)
	s := signedGreeter(t, dir)
	f := &fakeRegistry{
		list: func() ([]*registry.Service, error) {
			return []*registry.Service{nil, {Name: "greeter"}, {Name: "gone"}, {Name: "greeter"}}, nil
		},
		get: func(name string) ([]*registry.Service, error) {
			if name == "gone" {
				return nil, registry.ErrNotFound
			}
			return []*registry.Service{nil, s}, nil
		},
	}
	f.install(t)
	out := mustRun(t, "verify", dir, "--registry", "fake", "--address", "192.0.2.1:1,192.0.2.2:2", "--timeout", "3s",
		"--ca", filepath.Join(dir, "ca.crt"))
	if !strings.Contains(out, "1 trusted, 0 withdrawn, 0 to look at") {
		t.Errorf("output:\n%s", out)
	}
	if !f.perNode {
		t.Error("the registry was not asked for its records one by one")
	}
	if !f.closed {
		t.Error("the registry was not closed")
	}
	if want := []string{"192.0.2.1:1", "192.0.2.2:2"}; !slices.Equal(f.opts.Addrs, want) {
		t.Errorf("addresses %q: want %q", f.opts.Addrs, want)
	}
	if f.opts.Timeout != 3*time.Second {
		t.Errorf("timeout %v", f.opts.Timeout)
	}
	if c := f.opts.TLSConfig; !f.opts.Secure || c == nil || c.RootCAs == nil || c.InsecureSkipVerify {
		t.Errorf("--ca: secure %v, %+v", f.opts.Secure, c)
	}
	code, _, stderr := runCLI(t, "verify", dir, "--registry", "fake", "--ca", filepath.Join(dir, "nowhere"))
	if code != exitFailed || !strings.Contains(stderr, "nowhere") {
		t.Errorf("--ca that is not there: exit code %d, %q", code, stderr)
	}
	empty := filepath.Join(t.TempDir(), "empty.crt")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runCLI(t, "verify", dir, "--registry", "fake", "--ca", empty); code != exitFailed || !strings.Contains(stderr, "no certificate") {
		t.Errorf("empty --ca: exit code %d, %q", code, stderr)
	}
}

func TestVerifyAddressFromTheEnvironment(t *testing.T) {
	dir := greeterKeys(t)
	f := &fakeRegistry{list: func() ([]*registry.Service, error) { return nil, registry.ErrNotFound }}
	f.install(t)
	environment := map[string]string{identity.EnvDir: dir, envRegistry: "fake", envAddress: "192.0.2.7:7"}
	var out, errs bytes.Buffer
	code := run([]string{"verify"}, &session{stdout: &out, stderr: &errs, getenv: func(name string) string { return environment[name] }})
	if code != exitOK || out.String() != "Nothing is registered.\n" {
		t.Errorf("exit code %d, %q, %q", code, out.String(), errs.String())
	}
	if want := []string{"192.0.2.7:7"}; !slices.Equal(f.opts.Addrs, want) {
		t.Errorf("addresses %q: want %q", f.opts.Addrs, want)
	}
}

func TestVerifyReportsAnUnreachableRegistry(t *testing.T) {
	checkLeaks(t)
	dir := greeterKeys(t)
	down := errors.New("connection refused\x1b[2J")
	release := make(chan struct{})
	never := func() ([]*registry.Service, error) { <-release; return nil, nil }
	defer close(release)
	known := func() ([]*registry.Service, error) { return []*registry.Service{{Name: "greeter"}}, nil }
	for _, test := range []struct {
		name string
		fake fakeRegistry
		want string
	}{
		{"no list", fakeRegistry{list: func() ([]*registry.Service, error) { return nil, down }}, `connection refused\x1b[2J`},
		{"no answer about a service", fakeRegistry{list: known, get: func(string) ([]*registry.Service, error) { return nil, down }}, "connection refused"},
		{"silence", fakeRegistry{list: never}, "no answer in"},
		{"silence about a service", fakeRegistry{list: known, get: func(string) ([]*registry.Service, error) { return never() }}, "no answer in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fake.install(t)
			code, stdout, stderr := runCLI(t, "verify", dir, "--registry", "fake", "--address", "192.0.2.9:1", "--timeout", "10ms")
			if code != exitFailed || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			for _, want := range []string{"the registry fake at 192.0.2.9:1 could not be read", test.want, "--timeout"} {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q: %q", want, stderr)
				}
			}
		})
	}
}

// Whoever reads the JSON relies on its names.
func TestVerifyJSONHasAFixedShape(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	v := &verified{Identity: "spiffe://shop.internal/ops", Registry: "etcd", Address: "192.0.2.1:2379", NotFound: []string{"billing"}}
	v.add(signed.Finding{
		Service: "greeter", Version: "1", Node: "greeter-1", Address: "192.0.2.1:8080", Trusted: true,
		Peer: identity.Peer{ID: "spiffe://shop.internal/greeter"}, Claimed: "spiffe://shop.internal/greeter",
		Issued: at, Expires: at, Until: at, Sequence: 7, BoxKeys: 1, PQKeys: 1, RecordSize: 600,
		Endpoints: signed.Registered, Metadata: signed.Missing,
	})
	v.add(signed.Finding{Service: "greeter", Node: "greeter-2", Reason: signed.Expired, Err: errors.New("ended"), Claimed: "spiffe://bank.internal/greeter"})
	v.add(signed.Finding{Service: "greeter", Node: "greeter-3", Trusted: true, Withdrawn: true})
	var out bytes.Buffer
	if err := (&session{stdout: &out, json: true}).printVerified(v); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "identity": "spiffe://shop.internal/ops",
  "registry": "etcd",
  "address": "192.0.2.1:2379",
  "trusted": 1,
  "withdrawn": 1,
  "refused": 1,
  "not_found": [
    "billing"
  ],
  "nodes": [
    {
      "service": "greeter",
      "version": "1",
      "node": "greeter-1",
      "address": "192.0.2.1:8080",
      "trusted": true,
      "withdrawn": false,
      "signer": "spiffe://shop.internal/greeter",
      "trusted_until": "2026-01-02T02:04:05Z",
      "issued": "2026-01-02T02:04:05Z",
      "expires": "2026-01-02T02:04:05Z",
      "sequence": 7,
      "endpoints": "registered",
      "metadata": "missing",
      "box_keys": 1,
      "pq_keys": 1,
      "record_size": 600
    },
    {
      "service": "greeter",
      "version": "",
      "node": "greeter-2",
      "address": "",
      "trusted": false,
      "withdrawn": false,
      "reason": "expired",
      "detail": "ended",
      "remedy": "restart the service if it should run, and compare clocks; else take the node out of the registry",
      "claimed_signer": "spiffe://bank.internal/greeter",
      "box_keys": 0,
      "pq_keys": 0,
      "record_size": 0
    },
    {
      "service": "greeter",
      "version": "",
      "node": "greeter-3",
      "address": "",
      "trusted": true,
      "withdrawn": true,
      "box_keys": 0,
      "pq_keys": 0,
      "record_size": 0
    }
  ]
}
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

// reasons returns those that Inspect may give, from the source.
func reasons(t *testing.T) (all []signed.Reason) {
	t.Helper()
	for _, file := range []string{"reject.go", "inspect.go"} {
		source, err := os.ReadFile(filepath.Join("../../registry/signed", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\bReason\s+= "([a-z-]+)"`).FindAllSubmatch(source, -1) {
			all = append(all, signed.Reason(match[1]))
		}
	}
	if !slices.Contains(all, signed.Limit) || !slices.Contains(all, signed.Duplicate) {
		t.Fatalf("found only %q", all)
	}
	return all
}

func TestEveryReasonHasARemedy(t *testing.T) {
	page, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	all := reasons(t)
	for _, reason := range all {
		if remedies[reason] == "" {
			t.Errorf("%s: no remedy", reason)
		}
		if !strings.Contains(string(page), "| `"+string(reason)+"` |") {
			t.Errorf("%s: not in the operators' page", reason)
		}
	}
	if len(remedies) != len(all) {
		t.Errorf("%d remedies for %d reasons", len(remedies), len(all))
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"greeter-1":              "greeter-1",
		"":                       "-",
		"Grüße":                  "Grüße",
		"a b":                    `"a b"`,
		"a\u00a0b":               `"a\u00a0b"`,
		`"a"`:                    `"\"a\""`,
		"a\tb":                   `"a\tb"`,
		"a\x9bb":                 `"a\x9bb"`,
		"a\u202eb":               `"a\u202eb"`,
		strings.Repeat("a", 100): `"` + strings.Repeat("a", 64) + `"… (100 bytes)`,
	} {
		if got := cell(in); got != want {
			t.Errorf("cell(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestJSONCannotDriveATerminal(t *testing.T) {
	const hostile = "\x1b[2J\x7f\u009b\u202e\U000e0001é"
	var out bytes.Buffer
	if err := (&session{stdout: &out}).printJSON(map[string]string{"name": hostile}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x7f\u009b\u202e\U000e0001") {
		t.Errorf("%q", out.String())
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["name"] != hostile {
		t.Errorf("read back as %q: %v", back["name"], err)
	}
}

func TestRegistrationsAreBounded(t *testing.T) {
	for name, path := range map[string]string{"stdin": "-", "file": filepath.Join(t.TempDir(), "large.json")} {
		t.Run(name, func(t *testing.T) {
			large := bytes.Repeat([]byte{' '}, maxRegistrations+1)
			if path != "-" {
				if err := os.WriteFile(path, large, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := readRegistrations(&session{stdin: bytes.NewReader(large)}, path)
			if err == nil || !strings.Contains(err.Error(), "more than") {
				t.Errorf("%v", err)
			}
		})
	}
}
