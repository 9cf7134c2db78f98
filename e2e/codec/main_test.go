package codec_test

import (
	"testing"
	"time"

	"go-micro.dev/v4/logger"
	"go.uber.org/goleak"
)

// patience bounds what is waited for.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	goleak.VerifyTestMain(m,
		// What go-micro starts when it is imported, and what that starts in turn.
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run.func2"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config/loader/memory.(*memory).Watch.func1"),
		// go-micro has no way to stop these: of each memory registry, and of each
		// client's cache.
		goleak.IgnoreTopFunction("go-micro.dev/v4/registry.(*memRegistry).ttlPrune"),
		goleak.IgnoreTopFunction("github.com/patrickmn/go-cache.(*janitor).Run"),
	)
}
