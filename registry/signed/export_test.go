package signed

import (
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// Forgery says what is not as Register would have it in a record.
type Forgery struct {
	Issued    time.Time     // now, if zero
	Lifetime  time.Duration // DefaultValidity, if zero
	Sequence  uint64        // that of Issued, if zero
	Withdrawn bool
	Chain     [][]byte // the identity's, if nil
	Signer    string   // the ID in the signed bytes; the identity's, if ""
	WithoutPQ bool     // leave the post-quantum key out
}

// Forge signs the one node of s as id, and puts the record there.
func Forge(id *identity.Identity, s *registry.Service, f Forgery) error {
	if f.Issued.IsZero() {
		f.Issued = time.Now()
	}
	if f.Lifetime == 0 {
		f.Lifetime = DefaultValidity
	}
	if f.Sequence == 0 {
		f.Sequence = uint64(f.Issued.UnixMicro())
	}
	if f.Signer == "" {
		f.Signer = id.ID()
	}
	if f.Chain == nil {
		cert, err := id.TLSCertificate()
		if err != nil {
			return err
		}
		f.Chain = cert.Certificate
	}
	key := ownKey(id)
	if f.WithoutPQ {
		key.pq = nil
	}
	r := &record{
		withdrawn: f.Withdrawn, issued: f.Issued.Unix(), lifetime: int64(f.Lifetime / time.Second), sequence: f.Sequence,
		boxKeys: []recordKey{key}, certs: f.Chain,
	}
	var err error
	if r.endpoints, err = endpointsDigest(s.Endpoints); err != nil {
		return err
	}
	if r.metadata, err = metadataDigest(s.Metadata); err != nil {
		return err
	}
	r.header = r.encodeHeader()
	said, err := subject(f.Signer, s.Name, s.Version, s.Nodes[0])
	if err != nil {
		return err
	}
	if r.signature, err = id.Sign(recordPurpose, r.header, said); err != nil {
		return err
	}
	return Carry(s.Nodes[0], r.encode())
}

// Carry puts an encoded record in a node.
func Carry(n *registry.Node, raw []byte) error {
	parts, err := split(raw)
	if err != nil {
		return err
	}
	carry(n, parts)
	return nil
}

// Carried returns the encoded record of a node.
func Carried(n *registry.Node) ([]byte, error) {
	parts, err := join(n.Metadata)
	if err != nil {
		return nil, err
	}
	return unpack(parts)
}
