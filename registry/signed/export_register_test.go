package signed

import (
	"time"

	"go-micro.dev/v4/registry"
)

// Reading is what a record says.
type Reading struct {
	Sequence  uint64
	Expires   time.Time
	Withdrawn bool
	Leaf      string   // DER
	BoxKeys   []string // the X25519 keys' bytes
	PQKeys    []string // the post-quantum keys' bytes, "" where there is none
}

// Read parses the record of a node. It verifies nothing.
func Read(n *registry.Node) (Reading, error) {
	raw, err := Carried(n)
	if err != nil {
		return Reading{}, err
	}
	r, err := parseRecord(raw)
	if err != nil {
		return Reading{}, err
	}
	out := Reading{Sequence: r.sequence, Expires: r.expiresAt(), Withdrawn: r.withdrawn, Leaf: string(r.certs[0])}
	for _, key := range r.boxKeys {
		out.BoxKeys, out.PQKeys = append(out.BoxKeys, string(key.x25519)), append(out.PQKeys, string(key.pq))
	}
	return out, nil
}
