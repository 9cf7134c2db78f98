package etcd_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/leaktest"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// long is how long something may take that another goroutine or process does.
const long = 30 * time.Second

func TestMain(m *testing.M) {
	if addr := os.Getenv(oldPluginEnv); addr != "" {
		os.Exit(oldPlugin(addr))
	}
	leaktest.Main(m, leaktest.Selector()...)
}

// inClear makes a registry that is closed at the end of the test.
func inClear(t *testing.T, addrs []string, opts ...registry.Option) registry.Registry {
	t.Helper()
	return open(t, append([]registry.Option{registry.Addrs(addrs...), etcd.Insecure()}, opts...)...)
}

func open(t *testing.T, opts ...registry.Option) registry.Registry {
	t.Helper()
	r := etcd.NewRegistry(append([]registry.Option{registry.Logger(newLogs()), registry.Timeout(20 * time.Second)}, opts...)...)
	t.Cleanup(func() {
		within(t, long, "Close", func() {
			if err := r.(io.Closer).Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	})
	return r
}

// logs keeps what is logged, and prints nothing.
type logs struct {
	logger.Logger
	mu    sync.Mutex
	lines []string
}

func newLogs() *logs { return &logs{Logger: logger.NewLogger()} }

func (l *logs) Logf(_ logger.Level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *logs) contain(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(strings.Join(l.lines, "\n"), s)
}

// node is a service with one node.
func node(name, id, address string) *registry.Service {
	return &registry.Service{
		Name: name, Version: "1",
		Nodes: []*registry.Node{{Id: id, Address: address, Metadata: map[string]string{"zone": "a"}}},
	}
}

func register(t *testing.T, r registry.Registry, s *registry.Service, ttl time.Duration) {
	t.Helper()
	if err := r.Register(s, registry.RegisterTTL(ttl)); err != nil {
		t.Fatal(err)
	}
}

func deregister(t *testing.T, r registry.Registry, s *registry.Service) {
	t.Helper()
	if err := r.Deregister(s); err != nil {
		t.Fatal(err)
	}
}

// addressOf returns the address of the only node that a service has, or "".
func addressOf(r registry.Registry, name string) string {
	found, err := r.GetService(name)
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 1 {
		return ""
	}
	return found[0].Nodes[0].Address
}

// key returns what etcd has at a key, nil for nothing.
func key(t *testing.T, c *clientv3.Client, key string) (value string, lease clientv3.LeaseID, rev int64) {
	t.Helper()
	resp, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return "", 0, 0
	}
	kv := resp.Kvs[0]
	return string(kv.Value), clientv3.LeaseID(kv.Lease), kv.ModRevision
}

// watch begins to watch; the watcher is stopped at the end of the test.
func watch(t *testing.T, r registry.Registry, opts ...registry.WatchOption) registry.Watcher {
	t.Helper()
	w, err := r.Watch(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { within(t, long, "Stop", w.Stop) })
	return w
}

// next returns the next change as "action service/node".
func next(t *testing.T, w registry.Watcher) string {
	t.Helper()
	var got string
	within(t, long, "Next", func() {
		result, err := w.Next()
		if err != nil {
			got = err.Error()
			return
		}
		if len(result.Service.Nodes) != 1 {
			got = fmt.Sprintf("%s %s with %d nodes", result.Action, result.Service.Name, len(result.Service.Nodes))
			return
		}
		got = fmt.Sprintf("%s %s/%s", result.Action, result.Service.Name, result.Service.Nodes[0].Id)
	})
	return got
}

func want(t *testing.T, w registry.Watcher, changes ...string) {
	t.Helper()
	for _, c := range changes {
		if got := next(t, w); got != c {
			t.Fatalf("got %q, want %q", got, c)
		}
	}
}

// within runs f and fails the test if it takes longer than a test should wait.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s takes longer than %v", what, d)
	}
}

// eventually polls for what another goroutine or process brings about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.After(long)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", long, what)
		}
	}
}

// put writes a value past the registry.
func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(context.WithoutCancel(t.Context()), key, value); err != nil {
		t.Fatal(err)
	}
}
