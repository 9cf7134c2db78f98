package registry

import (
	"testing"

	"github.com/go-signet/signet/bench/internal/measure"
	"go-micro.dev/v4/logger"
)

func TestMain(m *testing.M) {
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	measure.Main(m, "go-micro.dev/v4")
}
