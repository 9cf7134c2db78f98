package codec

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"go-micro.dev/v4/logger"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	if flag.Lookup("test.bench").Value.String() != "" {
		// What the results depend on, as configuration lines of their format.
		fmt.Printf("go: %s\ncores: %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	}
	os.Exit(m.Run())
}
