package bench

import (
	"testing"

	"github.com/go-signet/signet/bench/internal/measure"
)

func TestMain(m *testing.M) {
	measure.Main(m, "go-micro.dev/v4", "github.com/quic-go/quic-go", "google.golang.org/grpc",
		"github.com/go-micro/plugins/v4/transport/grpc")
}
