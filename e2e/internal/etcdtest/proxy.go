package etcdtest

import (
	"testing"

	"github.com/go-signet/signet/e2e/internal/proxy"
)

// Proxy forwards TCP connections to a server, as long as it is told to.
type Proxy = proxy.Proxy

// NewProxy listens on a free port of the loopback interface and forwards to target,
// which SetTarget can change. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	return proxy.New(t, target)
}
