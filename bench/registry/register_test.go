package registry

import (
	"testing"

	"go-micro.dev/v4/registry"
)

// discarding is a registry that keeps nothing: what is left is the wrapper.
type discarding struct {
	registry.Registry
	got int
}

func (d *discarding) Register(s *registry.Service, _ ...registry.RegisterOption) error {
	d.got += len(s.Nodes)
	return nil
}

func (d *discarding) String() string { return "discarding" }

// BenchmarkRegister registers one node with a registry that does nothing: the same
// again, as go-micro does every 30 seconds, and another each time, which takes a
// signature.
func BenchmarkRegister(b *testing.B) {
	f := newFleet(b)
	register := func(b *testing.B, r registry.Registry, inner *discarding, next func() *registry.Service) {
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Register(next()); err != nil {
				b.Fatal(err)
			}
		}
		if inner.got < b.N {
			b.Fatalf("%d nodes arrived of %d", inner.got, b.N)
		}
	}
	same := registration(1)
	again := func() *registry.Service { return same }
	turn := 0
	another := func() *registry.Service {
		turn++
		s := *same
		s.Nodes = []*registry.Node{{Id: same.Nodes[0].Id, Address: same.Nodes[0].Address, Metadata: map[string]string{"turn": string(rune('a' + turn%2))}}}
		return &s
	}
	b.Run("plugin=inner/state=same", func(b *testing.B) {
		inner := new(discarding)
		register(b, inner, inner, again)
	})
	b.Run("plugin=signed/state=same", func(b *testing.B) {
		inner := new(discarding)
		register(b, f.signed(b, inner, f.shared), inner, again)
	})
	b.Run("plugin=signed/state=another", func(b *testing.B) {
		inner := new(discarding)
		register(b, f.signed(b, inner, f.shared), inner, another)
	})
}
