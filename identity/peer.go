package identity

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"

	"go-micro.dev/v4/metadata"

	"github.com/go-signet/signet/internal/caller"
	"github.com/go-signet/signet/internal/keys"
)

// Peer is a service whose certificate has been verified.
type Peer struct {
	ID          string // spiffe://<trust domain>/<service>
	TrustDomain string
	Service     string // the path of the ID, without its leading slash
	// Certificate is the leaf. It is shared between those who ask: do not change it.
	Certificate *x509.Certificate

	// home: the peer is of the trust domain of the identity that verified it. The
	// zero value trusts less.
	home bool
}

func newPeer(id keys.ID, leaf *x509.Certificate, home bool) Peer {
	return Peer{ID: id.String(), TrustDomain: id.TrustDomain, Service: id.Service, Certificate: leaf, home: home}
}

// Serves reports whether the peer is the go-micro service of that name: the name
// is the whole service part of its ID or, exactly, a DNS name of its leaf. A peer
// of a federated trust domain is nobody by a bare name, since its domain may have
// a "billing" of its own; like every peer it is known by its full ID. So is a Peer
// that no Identity has verified. Nobody serves "".
func (p Peer) Serves(name string) bool {
	switch {
	case name == "" || p.ID == "":
		return false
	case name == p.ID:
		return true
	case !p.home:
		return false
	case name == p.Service:
		return true
	case p.Certificate == nil || strings.Contains(name, "/"):
		return false // a DNS name that looks like an ID or a path is neither
	}
	return slices.Contains(p.Certificate.DNSNames, name)
}

// Home reports whether the peer was verified to be of our own trust domain.
func (p Peer) Home() bool { return p.home }

// String returns the ID.
func (p Peer) String() string { return p.ID }

// Keys of go-micro's request metadata. The server sets the addresses itself,
// after it has received the headers of a request.
const (
	localKey  = "Local"
	remoteKey = "Remote"
	// topicKey marks an event: its headers came by way of a broker.
	topicKey = "Micro-Topic"
)

// PeerFromContext returns who called, in a handler. It answers only for requests
// that came over a transport of Signet, which verified the caller and sealed its
// certificate for this process and this connection. For everything else, an event
// from a broker, another transport, a header that somebody made up or that came
// along from an earlier hop, the answer is false.
//
// A header is trusted only under its exact key. go-micro folds keys of different
// case into one, in no fixed order, so a request that brings an address of its own
// as "remote" is refused, not guessed at.
//
// The peer's certificate was valid when its connection was accepted; the transport
// ends the connection when that is no longer so.
func PeerFromContext(ctx context.Context) (Peer, bool) {
	if ctx == nil {
		return Peer{}, false
	}
	md, ok := metadata.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}
	value, local, remote := md[caller.Header], md[localKey], md[remoteKey]
	if _, event := md[topicKey]; event || value == "" || variants(ctx) {
		return Peer{}, false
	}
	return openCaller(value, local, remote)
}

// variants reports whether the metadata has one of the keys that count under
// another spelling. Package metadata shows a folded copy only; but an empty patch
// removes exactly the key it names, so what is left after that is a variant.
func variants(ctx context.Context) bool {
	rest, _ := metadata.FromContext(metadata.MergeContext(ctx, metadata.Metadata{
		caller.Header: "", localKey: "", remoteKey: "",
	}, true))
	for _, key := range []string{caller.Header, localKey, remoteKey} {
		if _, ok := rest[key]; ok {
			return true
		}
	}
	return false
}
