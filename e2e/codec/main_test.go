package codec_test

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
	leaktest.Main(m)
}
