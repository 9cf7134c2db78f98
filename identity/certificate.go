package identity

import (
	"crypto/x509"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
)

// TrustAnchors returns the certificates of all CAs, of our own trust domain and
// of those we are federated with; none after Close.
func (id *Identity) TrustAnchors() []*x509.Certificate {
	now, err := id.current()
	if err != nil {
		return nil
	}
	return now.set.Trust.CAs()
}

// PeerFromCertificate says whom a leaf names, by the rules for leaves alone:
// exactly one URI name and it a SPIFFE ID, no CA, digitalSignature, both extended
// key usages. It verifies no chain, no validity and no revocation: it is for
// plugins whose trust comes from a tls.Config, which have done all that. home is
// the trust domain whose peers are known by their bare service name.
func PeerFromCertificate(leaf *x509.Certificate, home string) (Peer, error) {
	id, err := keys.CheckLeaf(leaf)
	if err != nil {
		return Peer{}, fmt.Errorf("identity: %w", err)
	}
	return newPeer(id, leaf, id.TrustDomain == home), nil
}
