package signed

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

// mDNS packets, in bytes: the first is what one Ethernet frame holds, the second
// what RFC 6762, section 17, allows.
const (
	mdnsFrame  = 1472
	mdnsPacket = 9000
	// mdnsAround is what surrounds the text of a node in go-micro's answers: the
	// header, and the names and fixed parts of PTR, SRV, TXT and A records.
	mdnsAround = 250
)

// MDNSPacketSize returns about how many bytes the mDNS packet has in which
// go-micro's mDNS registry announces a node: it writes the node as JSON, compressed,
// in hexadecimal. Above 1472 bytes packets are fragmented, which many networks do
// not carry; Register refuses more than 9000. It is 0 without a service or a node.
func MDNSPacketSize(s *registry.Service, node *registry.Node) int {
	if s == nil || node == nil {
		return 0
	}
	text, err := json.Marshal(struct {
		Metadata  map[string]string
		Service   string
		Version   string
		Endpoints []*registry.Endpoint
	}{node.Metadata, s.Name, s.Version, s.Endpoints})
	if err != nil { // strings marshal, whatever they hold
		return mdnsAround
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = z.Write(text) // a Buffer takes everything
	_ = z.Close()
	size := 2 * packed.Len()
	const label = 255 // each part of a TXT record has a length byte
	return mdnsAround + len(s.Name)*3 + len(node.Id)*3 + size + (size+label-1)/label
}

// checkMDNS refuses what mDNS cannot carry, and warns once of a node that it hardly
// can.
func (s *signer) checkMDNS(n *ownNode, next *signedNode) error {
	id, size := keys.Quote(n.key.id), MDNSPacketSize(next.service, next.node())
	if size > mdnsPacket {
		return fmt.Errorf("%w: node %s would take an mDNS packet of %d bytes: at most %d: shorten its metadata, endpoints or certificate chain, or use another registry", ErrInvalid, id, size, mdnsPacket)
	}
	s.mu.Lock()
	warn := size > mdnsFrame && !n.warned
	n.warned = n.warned || warn
	s.mu.Unlock()
	if warn {
		s.log.Logf(logger.WarnLevel, "signed: node %s takes an mDNS packet of about %d bytes: above %d they are fragmented, and some networks lose them: use another registry in production", id, size, mdnsFrame)
	}
	return nil
}
