package processes

import "testing"

// TestSignedMDNS: MICRO_REGISTRY=signed alone signs what go-micro's default
// registry, mDNS, carries. Two greeters that caller must not call answer there, too:
// one that signs nothing, and one of another authority.
func TestSignedMDNS(t *testing.T) {
	k := newKeys(t, "greeter", "caller")
	as := func(k keys, service string) []string { return append(k.as(service), "MICRO_REGISTRY=signed") }
	unsigned := startGreeter(t, k.as("greeter"), anyPort)
	foreign := startGreeter(t, as(newKeys(t, "greeter"), "greeter"), anyPort)
	unsigned.await(0, 1, "Registering node")
	foreign.await(0, 1, "Registering node")
	g := startGreeter(t, as(k, "greeter"), anyPort)
	g.await(0, 1, "Registering node")

	c := start(t, as(k, "caller"), "caller", "--every", "5ms")
	c.await(0, 100, "call: Hello John")
	g.await(0, 100, " called by spiffe://shop.internal/caller")
	// Why it has not called the others.
	c.await(0, 1, "unsigned")
	c.await(0, 1, "untrusted")
	if n := unsigned.calls() + foreign.calls(); n != 0 {
		t.Errorf("%d calls reached the others", n)
	}
}
