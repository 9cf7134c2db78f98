package quic_test

import (
	"testing"
	"time"

	"github.com/go-signet/signet/internal/transporttest"
	"github.com/go-signet/signet/transport/quic"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/transport"
)

// TestConformance holds the transport to go-micro's whole contract, without an
// exception.
func TestConformance(t *testing.T) {
	transporttest.Run(t, "quic", conforming(t), transporttest.Caps{})
}

// TestServiceConformance runs go-micro services over the transport.
func TestServiceConformance(t *testing.T) {
	transporttest.RunRPC(t, "quic", conforming(t), transporttest.Caps{})
}

// conforming makes transports of one service that calls itself. Their
// listeners do not wait long for calls that the suite leaves unanswered.
func conforming(t *testing.T) func(*testing.T, ...transport.Option) transport.Transport {
	id := newFleet(t).issue(transporttest.Service)
	return func(_ *testing.T, opts ...transport.Option) transport.Transport {
		return quic.NewTransport(append([]transport.Option{
			transport.Logger(logger.NewLogger(logger.WithLevel(logger.FatalLevel))),
			quic.Timing(quic.Timeouts{Drain: time.Second}),
			quic.Identity(id),
		}, opts...)...)
	}
}
