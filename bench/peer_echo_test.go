package bench

import (
	"fmt"
	"testing"

	"go-micro.dev/v4/registry"
	"go.uber.org/goleak"

	"github.com/go-signet/signet/internal/leaktest"
)

// TestEveryPeer runs each workload of each peer a few times, as benchmarks do not
// run in a plain go test, and leaves no goroutine behind.
func TestEveryPeer(t *testing.T) {
	const (
		inflight = 4
		rounds   = 3
	)
	for _, p := range peers() {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("echo/plugin=%s/size=%d", p.name, size), func(t *testing.T) {
				noLeaks(t)
				if err := together(echoOps(t, p, size, inflight), rounds*inflight); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run("dial/plugin="+p.name, func(t *testing.T) {
			noLeaks(t)
			if err := together([]op{dialOp(p.serve(t))}, rounds); err != nil {
				t.Error(err)
			}
		})
	}
	reg := registry.NewMemoryRegistry()
	for _, p := range plugins() {
		for _, size := range append([]int{smallJSON}, sizes[:]...) {
			t.Run(fmt.Sprintf("rpc/plugin=%s/size=%d", p.name, size), func(t *testing.T) {
				noLeaks(t)
				// One at a time: the http transport writes to the TLS configuration
				// at each Dial, which the race detector would report.
				if err := together(rpcOps(t, p, reg, size, 1), rounds); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// noLeaks fails t if goroutines outlive its cleanups, except the janitor of the
// client's response cache, which only the garbage collector stops.
func noLeaks(t *testing.T) {
	before := leaktest.Micro()
	t.Cleanup(func() { goleak.VerifyNone(t, before...) })
}

// TestEchoIsChecked makes sure that a wrong answer fails a benchmark.
func TestEchoIsChecked(t *testing.T) {
	for _, tc := range []struct {
		name, got, want string
		ok              bool
	}{
		{name: "equal", got: "abc", want: "abc", ok: true},
		{name: "short", got: "ab", want: "abc"},
		{name: "wrong first byte", got: "xbc", want: "abc"},
		{name: "wrong last byte", got: "abx", want: "abc"},
		{name: "empty", got: "", want: "abc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := checkEcho(tc.got, tc.want); (err == nil) != tc.ok {
				t.Errorf("checkEcho(%q, %q) = %v", tc.got, tc.want, err)
			}
		})
	}
}
