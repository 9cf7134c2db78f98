package registry_test

import (
	"testing"
	"time"

	"go-micro.dev/v4/logger"

	"github.com/go-signet/signet/internal/leaktest"
)

// patience bounds what is waited for.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	leaktest.Main(m,
		// Of each mDNS registry that was ever watched.
		"go-micro.dev/v4/registry.(*mdnsRegistry).Watch.func1",
		"go-micro.dev/v4/registry.(*mdnsRegistry).Watch.func1.1",
		"go-micro.dev/v4/util/mdns.(*client).recv",
	)
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, f func() bool) {
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
