package sealed_test

import (
	"slices"
	"testing"

	"github.com/go-signet/signet/internal/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.Main(m, slices.Concat(leaktest.Selector(), leaktest.Memory(), leaktest.HTTP(),
		[]string{"go-micro.dev/v4/server.(*rpcServer).ServeConn"})...)
}
