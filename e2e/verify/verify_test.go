package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/etcdtest"
	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/leaktest"
	"github.com/go-signet/signet/registry/etcd"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

// command is the program under test; it is written once, before any test.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "signet-e2e-")
	if err == nil {
		command = filepath.Join(dir, "signet")
		build := exec.Command("go", "build", "-o", command, "./cmd/signet")
		build.Dir = filepath.Join("..", "..")
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%v: %w\n%s", build.Args, err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	// What go-micro starts when it is imported, and never stops.
	goleak.VerifyTestMain(m, append(leaktest.Micro(), goleak.Cleanup(func(status int) {
		_ = os.RemoveAll(dir)
		os.Exit(status)
	}))...)
}

// outcome is what a run of the command came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// verify runs signet verify on an etcd, with no environment of Signet's, go-micro's
// and etcd's but env.
func verify(t *testing.T, env []string, dir, address string, flags ...string) outcome {
	t.Helper()
	run := exec.CommandContext(t.Context(), command, append([]string{"verify", dir, "--registry", "etcd", "--address", address}, flags...)...)
	for _, v := range os.Environ() {
		if prefix, _, _ := strings.Cut(v, "_"); !slices.Contains([]string{"MICRO", "SIGNET", "ETCD"}, prefix) {
			run.Env = append(run.Env, v)
		}
	}
	run.Env = append(run.Env, env...)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	err := run.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{run.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want checks how a run ended, and that it said all of the texts.
func (o outcome) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(o.stdout+o.stderr, text) {
			t.Errorf("it does not say %q", text)
		}
	}
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

// statuses returns the status of each node, by its id.
func (o outcome) statuses(t *testing.T) map[string]string {
	t.Helper()
	var report struct {
		Nodes []struct {
			Node, Reason, Endpoints string
			Trusted, Withdrawn      bool
		}
	}
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatalf("%v\n%s%s", err, o.stdout, o.stderr)
	}
	all := make(map[string]string)
	for _, n := range report.Nodes {
		status := n.Reason
		if status == "" {
			status = fmt.Sprintf("trusted=%v withdrawn=%v endpoints=%s", n.Trusted, n.Withdrawn, n.Endpoints)
		}
		all[n.Node] = status
	}
	return all
}

const inOrder = "trusted=true withdrawn=false endpoints=registered"

func authority(t *testing.T) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority("shop.internal")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns an identity, and its directory.
func issue(t *testing.T, a *identity.Authority, service string) (*identity.Identity, string) {
	t.Helper()
	id, err := a.Issue(service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { id.Close() })
	dir := filepath.Join(t.TempDir(), service)
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	return id, dir
}

// register registers a node as a service does, with one endpoint.
func register(t *testing.T, server *etcdtest.Server, id *identity.Identity, node, endpoint string, inner ...registry.Option) registry.Registry {
	t.Helper()
	below := etcd.NewRegistry(append(inner, registry.Addrs(server.Addr()))...)
	r := signed.NewRegistry(signed.Wrap(below), signed.Identity(id))
	t.Cleanup(func() {
		r.(interface{ Close() error }).Close()
		below.(interface{ Close() error }).Close()
	})
	if err := r.Register(serviceOf(id, node, endpoint), registry.RegisterTTL(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return r
}

func serviceOf(id *identity.Identity, node, endpoint string) *registry.Service {
	return &registry.Service{
		Name: id.Peer().Service, Version: "1.0.0",
		Endpoints: []*registry.Endpoint{{Name: endpoint, Metadata: map[string]string{}}},
		Nodes:     []*registry.Node{{Id: node, Address: "192.0.2.1:8080", Metadata: map[string]string{}}},
	}
}

// put writes past all registries.
func put(t *testing.T, c *clientv3.Client, service, node string, value []byte) {
	t.Helper()
	if _, err := c.Put(t.Context(), etcd.DefaultPrefix+service+"/"+node, string(value)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *clientv3.Client, service, node string) []byte {
	t.Helper()
	answer, err := c.Get(t.Context(), etcd.DefaultPrefix+service+"/"+node)
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%v: %d values", err, len(answer.Kvs))
	}
	return answer.Kvs[0].Value
}

// TestFleet: what a fleet registered is trusted, node by node; what somebody wrote
// beside it is not.
func TestFleet(t *testing.T) {
	a := authority(t)
	server := etcdtest.Start(t, etcdtest.TLS(a))
	greeter, _ := issue(t, a, "greeter")
	billing, _ := issue(t, a, "billing")
	_, ops := issue(t, a, "ops")
	register(t, server, billing, "apart-1", "Billing.Pay", etcd.Identity(billing), etcd.Prefix("/apart/"))
	verify(t, nil, ops, server.Addr()).want(t, 0, "Nothing is registered.")
	verify(t, nil, ops, server.Addr(), "--prefix", "/apart/").want(t, 0, "apart-1", "1 trusted")

	register(t, server, greeter, "greeter-1", "Greeter.Hello", etcd.Identity(greeter))
	register(t, server, greeter, "greeter-2", "Greeter.Hello2", etcd.Identity(greeter)) // the same version
	register(t, server, billing, "billing-1", "Billing.Pay", etcd.Identity(billing))
	o := verify(t, nil, ops, server.Addr(), "--json")
	o.want(t, 0)
	for _, node := range []string{"greeter-1", "greeter-2", "billing-1"} {
		if status := o.statuses(t)[node]; status != inOrder {
			t.Errorf("%s: %s", node, status)
		}
	}

	c := server.Client()
	good := get(t, c, "greeter", "greeter-1")
	copied := func(node, old, new string) []byte {
		value := bytes.ReplaceAll(good, []byte("greeter-1"), []byte(node))
		return bytes.Replace(value, []byte(old), []byte(new), 1)
	}
	put(t, c, "greeter", "copied", copied("copied", "192.0.2.1:", "192.0.2.66:"))
	put(t, c, "greeter", "unsigned", []byte(`{"name":"greeter","version":"1.0.0","nodes":[{"id":"unsigned","address":"192.0.2.66:1"}]}`))
	o = verify(t, nil, ops, server.Addr(), "--json")
	o.want(t, 1)
	for node, want := range map[string]string{"greeter-1": inOrder, "billing-1": inOrder, "copied": "altered", "unsigned": "unsigned"} {
		if status := o.statuses(t)[node]; status != want {
			t.Errorf("%s: %s, want %s", node, status, want)
		}
	}
	verify(t, nil, ops, server.Addr(), "--service", "billing").want(t, 0, "1 trusted")
	verify(t, nil, ops, server.Addr(), "--service", "nobody").want(t, 1, "nobody has no node")
}

// TestWithdrawn: what a service took back before it was restored is told apart from
// what counts.
func TestWithdrawn(t *testing.T) {
	a := authority(t)
	server := etcdtest.Start(t, etcdtest.TLS(a))
	greeter, _ := issue(t, a, "greeter")
	_, ops := issue(t, a, "ops")
	r := register(t, server, greeter, "greeter-1", "Greeter.Hello", etcd.Identity(greeter))
	if err := r.Deregister(serviceOf(greeter, "greeter-1", "Greeter.Hello")); err != nil {
		t.Fatal(err)
	}
	verify(t, nil, ops, server.Addr()).want(t, 0, "Nothing is registered.")
	c := server.Client()
	history, err := c.Get(t.Context(), etcd.DefaultPrefix+"greeter/greeter-1", clientv3.WithRev(lastRevision(t, c)-1))
	if err != nil || len(history.Kvs) != 1 {
		t.Fatalf("the withdrawal is not in etcd's history: %v", err)
	}
	put(t, c, "greeter", "greeter-1", history.Kvs[0].Value)
	o := verify(t, nil, ops, server.Addr(), "--json")
	o.want(t, 0)
	if status := o.statuses(t)["greeter-1"]; status != "trusted=true withdrawn=true endpoints=registered" {
		t.Error(status)
	}
}

func lastRevision(t *testing.T, c *clientv3.Client) int64 {
	t.Helper()
	answer, err := c.Get(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Header.Revision
}

// TestAccounts: an account that may read is enough, and one that may not is an error
// that says so.
func TestAccounts(t *testing.T) {
	a := authority(t)
	server := etcdtest.Start(t, etcdtest.TLS(a))
	greeter, _ := issue(t, a, "greeter")
	_, ops := issue(t, a, "ops")
	_, intern := issue(t, a, "intern")
	register(t, server, greeter, "greeter-1", "Greeter.Hello", etcd.Identity(greeter))
	server.EnableAuth(
		etcdtest.Account{Name: "ops", Read: []string{etcd.DefaultPrefix}},
		etcdtest.Account{Name: "intern"},
		etcdtest.Account{Name: "reader", Password: "pass word", Read: []string{etcd.DefaultPrefix}},
	)
	verify(t, nil, ops, server.Addr()).want(t, 0, "1 trusted")
	verify(t, nil, intern, server.Addr()).want(t, 1, "permission denied")
	verify(t, []string{"ETCD_USERNAME=reader", "ETCD_PASSWORD=pass word"}, intern, server.Addr()).want(t, 0, "1 trusted")
	o := verify(t, []string{"ETCD_USERNAME=reader", "ETCD_PASSWORD=wrong word"}, intern, server.Addr(), "--timeout", "3s")
	o.want(t, 1)
	if strings.Contains(o.stdout+o.stderr, "wrong word") {
		t.Error("it shows the password")
	}
}

// TestServers: etcd must prove who it is, by the identity's trust or by --ca.
func TestServers(t *testing.T) {
	a := authority(t)
	_, ops := issue(t, a, "ops")
	t.Run("another service", func(t *testing.T) {
		server := etcdtest.Start(t, etcdtest.TLS(a), etcdtest.Service("impostor"))
		verify(t, nil, ops, server.Addr(), "--timeout", "2s").want(t, 1, "could not be read")
		verify(t, nil, ops, server.Addr(), "--server", "impostor").want(t, 0, "Nothing is registered.")
	})
	t.Run("a CA of its own", func(t *testing.T) {
		own := authority(t)
		server := etcdtest.Start(t, etcdtest.TLS(own), etcdtest.AnonymousClients())
		_, other := issue(t, own, "other")
		address := strings.Replace(server.Addr(), "127.0.0.1", "localhost", 1)
		verify(t, nil, ops, address, "--timeout", "2s").want(t, 1, "could not be read")
		verify(t, nil, ops, address, "--ca", filepath.Join(other, "ca.crt")).want(t, 0, "Nothing is registered.")
		verify(t, nil, ops, address, "--ca", filepath.Join(ops, "ca.crt"), "--timeout", "2s").want(t, 1, "could not be read")
	})
	t.Run("in clear", func(t *testing.T) {
		server := etcdtest.Start(t)
		verify(t, nil, ops, server.Addr(), "--timeout", "2s").want(t, 1, "could not be read")
		verify(t, nil, ops, server.Addr(), "--insecure").want(t, 0, "Nothing is registered.")
	})
}

// TestSilence: a server that does not answer ends the command in its time.
func TestSilence(t *testing.T) {
	a := authority(t)
	server := etcdtest.Start(t, etcdtest.TLS(a))
	_, ops := issue(t, a, "ops")
	server.Proxy.Blackhole()
	verify(t, nil, ops, server.Addr(), "--timeout", "500ms").want(t, 1, "could not be read", "--timeout")
}
