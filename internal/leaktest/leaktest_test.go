package leaktest_test

import (
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/leaktest"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/registry"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func wait(end <-chan struct{}) { <-end }

// TestLeaks: what waits is a leak, unless it is named; what go-micro leaves is none.
func TestLeaks(t *testing.T) {
	before := leaktest.Micro()
	registry.NewMemoryRegistry()
	client.NewClient()
	if err := goleak.Find(before...); err != nil {
		t.Fatalf("go-micro's goroutines count: %v", err)
	}
	end := make(chan struct{})
	defer close(end)
	named := leaktest.Micro("github.com/go-signet/signet/internal/leaktest_test.wait")
	before = leaktest.Micro()
	go wait(end)
	if err := goleak.Find(before...); err == nil || !strings.Contains(err.Error(), "leaktest_test.wait") {
		t.Errorf("a goroutine that waits: %v; want it told", err)
	}
	if err := goleak.Find(named...); err != nil {
		t.Errorf("a goroutine that is named: %v", err)
	}
}
