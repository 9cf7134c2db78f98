package registry

import (
	"encoding/json"
	"testing"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// BenchmarkNodeSize reports how large a node is in each backend, in clear and
// signed: the bytes of its metadata, as Consul and the memory registry hold it; of
// its JSON, as etcd and NATS do; and of its packet, as mDNS sends it. All of that is
// without the post-quantum box key, which signed.PostQuantum adds.
func BenchmarkNodeSize(b *testing.B) {
	f := newFleet(b)
	for _, backend := range []struct {
		name string
		opts []registry.Option
		size func(*registry.Service) int
	}{
		{"metadata", nil, metadataSize},
		{"etcd", nil, jsonSize},
		{"mdns", nil, func(s *registry.Service) int { return signed.MDNSPacketSize(s, s.Nodes[0]) }},
	} {
		for _, plugin := range []string{"inner", "signed"} {
			b.Run("plugin="+plugin+"/backend="+backend.name, func(b *testing.B) {
				var signers []*identity.Identity
				if plugin == "signed" {
					signers = []*identity.Identity{f.shared}
				}
				inner := registry.NewMemoryRegistry()
				f.fill(b, inner, 1, signers, backend.opts...)
				services, err := inner.GetService(service)
				if err != nil {
					b.Fatal(err)
				}
				size := 0
				for b.Loop() {
					size = backend.size(services[0])
				}
				b.ReportMetric(float64(size), "bytes/node")
			})
		}
	}
}

func metadataSize(s *registry.Service) (size int) {
	for key, value := range s.Nodes[0].Metadata {
		size += len(key) + len(value)
	}
	return size
}

func jsonSize(s *registry.Service) int {
	data, err := json.Marshal(s)
	if err != nil {
		return 0
	}
	return len(data)
}
