package transporttest_test

import (
	"testing"

	"github.com/go-signet/signet/internal/transporttest"
	"go-micro.dev/v4/transport"
)

func newHTTP(_ *testing.T, opts ...transport.Option) transport.Transport {
	return transport.NewHTTPTransport(opts...)
}

func newMemory(_ *testing.T, opts ...transport.Option) transport.Transport {
	return transport.NewMemoryTransport(opts...)
}

func TestTransports(t *testing.T) {
	transporttest.Run(t, "http", newHTTP, transporttest.HTTP())
	transporttest.Run(t, "memory", newMemory, transporttest.Memory())
}

func TestServices(t *testing.T) {
	transporttest.RunRPC(t, "http", newHTTP, transporttest.HTTP())
	transporttest.RunRPC(t, "memory", newMemory, transporttest.Memory())
}
