package events

import (
	"testing"

	"github.com/go-signet/signet/bench/internal/measure"
)

func TestMain(m *testing.M) {
	measure.Main(m, "go-micro.dev/v4", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go",
		"github.com/nats-io/nkeys", "github.com/go-micro/plugins/v4/broker/nats")
}
