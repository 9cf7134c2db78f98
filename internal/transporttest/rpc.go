package transporttest

import (
	"slices"
	"testing"

	"go-micro.dev/v4/transport"
)

// Service is the name of the service that RunRPC calls. A transport that
// proves identities needs one with this name.
const Service = "conformance"

// RunRPC checks go-micro services over a transport. Service, client, server,
// selector and pool are go-micro's own, and none of them retries.
func RunRPC(t *testing.T, name string, newTransport func(t *testing.T, opts ...transport.Option) transport.Transport, caps Caps) {
	t.Helper()
	runAll(t, name, newTransport, caps, serviceLevelChecks())
}

func serviceLevelChecks() []check {
	return slices.Concat(
		callChecks(),
		errorChecks(),
		streamChecks(),
		serviceChecks(),
		burstChecks(),
	)
}
