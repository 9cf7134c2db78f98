// Package identity says who a service is, and decides who its peers are. Every
// plugin of Signet takes an *Identity.
//
// It guarantees that an Identity was checked as a whole before it is used, and
// after each change of its files; that Verify accepts a chain only if its leaf
// bears exactly one SPIFFE ID, leads to the CAs of that ID's own trust domain, is
// valid now, and is in none of their revocation lists; that a signature made for
// one purpose verifies for no other; that what PeerFromContext returns was
// authenticated by a transport of this process; and that private keys are never
// printed, logged or put in errors.
//
// It assumes that the clock is right to within a minute, and that nobody but the
// service and its operator may write to the identity's directory: who may, decides
// whom the service trusts.
//
// It does not protect against a stolen key until its certificate is revoked or
// ends, does not fetch revocation lists (deliver them as files), does not encrypt
// keys at rest, and does not decide what a peer may do.
//
// Keys: the leaf's is P-256 by default, Ed25519 or RSA (2048 to 8192 bits) by
// choice of whoever issues it; it authenticates TLS and signs, each purpose under
// a context of its own. Others seal to the box keys: one is X25519, the other, for the
// post-quantum suite, MLKEM768-X25519 (X-Wing). Neither is derived from the other.
//
// Compatibility: certificates are X.509-SVIDs (SPIFFE), lists are those of RFC
// 5280, files are those of a Kubernetes TLS secret, so SPIRE, step-ca, cert-manager
// and Vault can feed a directory. Cards are versioned; see spec/card.md.
//
// # Revocation
//
// A revocation list must be signed by a CA of the trust domain it is for, be
// complete (neither a delta nor limited to some certificates), and be in its time:
// once its next update is past, nothing that its CA issued verifies until a newer
// list is there. The lists of an Authority last as long as the authority's
// certificate. While a service runs a list is never replaced by an older one, and
// never dropped. A CA without a list is not held to have one. Intermediate CAs that
// peers present are checked against the list of the CA above them; to apply a list
// of their own put them in ca.crt too.
//
// # Federation
//
// ca.crt vouches for IDs of our own trust domain only, trust/<domain>.crt for those
// of that other domain only. By a bare service name only peers of our own domain
// are known: see Peer.Serves.
package identity
