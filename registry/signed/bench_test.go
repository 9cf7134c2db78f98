package signed_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// handing is an inner registry that costs nothing.
type handing struct {
	registry.Registry
	services []*registry.Service
}

func (h *handing) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return h.services, nil
}

func (h *handing) String() string { return "handing" }

// fullOf returns an inner registry with nodes that have a certificate each.
func fullOf(b *testing.B, f *fleet, nodes int) *handing {
	b.Helper()
	s := greeter()
	for i := range nodes {
		one := greeter(node(fmt.Sprintf("greeter-%d", i), fmt.Sprintf("10.0.%d.%d:8000", i/250, i%250)))
		if err := signed.Forge(f.issue("greeter"), one, signed.Forgery{}); err != nil {
			b.Fatal(err)
		}
		s.Nodes = append(s.Nodes, one.Nodes...)
	}
	return &handing{services: []*registry.Service{s}}
}

func BenchmarkGetService(b *testing.B) {
	f := newFleet(b)
	for _, nodes := range []int{1, 10, 100} {
		inner := fullOf(b, f, nodes)
		b.Run(fmt.Sprintf("warm/nodes=%d", nodes), func(b *testing.B) {
			reader := wrap(b, inner, f.issue("reader"))
			if got := len(found(b, reader, "greeter")); got != nodes {
				b.Fatalf("%d nodes", got)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = reader.GetService("greeter")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
		})
		b.Run(fmt.Sprintf("cold/nodes=%d", nodes), func(b *testing.B) {
			readerID := f.issue("reader")
			b.ReportAllocs()
			for b.Loop() {
				reader := signed.NewRegistry(signed.Wrap(inner), signed.Identity(readerID), registry.Logger(quiet))
				if s, err := reader.GetService("greeter"); err != nil || len(s[0].Nodes) != nodes {
					b.Fatal(err)
				}
				_ = reader.(io.Closer).Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
		})
	}
}
