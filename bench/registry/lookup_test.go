package registry

import (
	"fmt"
	"io"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// BenchmarkGetService looks a service up in go-micro's memory registry, in clear
// and through registry/signed. Warm has looked before; cold has seen nothing, not
// even a certificate. Junk is as many nodes besides whose signature is another
// node's: first-junk meets them for the first time.
func BenchmarkGetService(b *testing.B) {
	f := newFleet(b)
	for _, n := range counts {
		name := func(plugin, state string) string {
			return fmt.Sprintf("plugin=%s/state=%s/nodes=%d", plugin, state, n)
		}
		clear, carrying, spoilt := registry.NewMemoryRegistry(), registry.NewMemoryRegistry(), registry.NewMemoryRegistry()
		f.fill(b, clear, n, nil)
		f.fill(b, carrying, n, []*identity.Identity{f.shared})
		f.fill(b, spoilt, n, []*identity.Identity{f.shared})
		spoil(b, spoilt, n)
		each := registry.NewMemoryRegistry()
		f.fill(b, each, n, f.certificates(b, n))

		b.Run(name("inner", "unsigned"), func(b *testing.B) { warm(b, clear, n, n) })
		b.Run(name("inner", "carrying"), func(b *testing.B) { warm(b, carrying, n, n) })
		b.Run(name("signed", "warm"), func(b *testing.B) { warm(b, f.signed(b, carrying, f.reader), n, n) })
		b.Run(name("signed", "junk"), func(b *testing.B) { warm(b, f.signed(b, spoilt, f.reader), n, n) })
		b.Run(name("signed", "cold-shared"), func(b *testing.B) { f.cold(b, carrying, n) })
		b.Run(name("signed", "cold-each"), func(b *testing.B) { f.cold(b, each, n) })
		b.Run(name("signed", "first-junk"), func(b *testing.B) { f.cold(b, spoilt, n) })
	}
}

// certificates are one for each replica.
func (f *fleet) certificates(tb testing.TB, n int) []*identity.Identity {
	ids := make([]*identity.Identity, n)
	for i := range ids {
		ids[i] = f.issue(tb, service)
	}
	return ids
}

// warm measures lookups by one that has looked before.
func warm(b *testing.B, r registry.Registry, found, nodes int) {
	lookup(b, r, found)
	b.ReportAllocs()
	for b.Loop() {
		lookup(b, r, found)
	}
	perNode(b, nodes)
}

// cold measures the first lookup of a new registry.
func (f *fleet) cold(b *testing.B, inner registry.Registry, nodes int) {
	b.ReportAllocs()
	for b.Loop() {
		r := signed.NewRegistry(signed.Wrap(inner), signed.Identity(f.reader), registry.Logger(quiet()))
		lookup(b, r, nodes)
		r.(io.Closer).Close()
	}
	perNode(b, nodes)
}

func perNode(b *testing.B, nodes int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
}
