// Package keys reads, checks, writes and watches the files an identity is made
// of, and issues and verifies the X.509 certificates and revocation lists in
// them. It knows nothing of go-micro.
//
// It guarantees that a Set it returns has been checked as a whole: one leaf with
// exactly one SPIFFE ID, the key that belongs to it, a chain to the CAs of its
// own trust domain, and revocation lists signed by those CAs. Secrets are
// written to a temporary file of mode 0600 and renamed, and refused when others
// could have read them. What it reads is bounded before it is read. Errors name
// the file and the remedy, and never hold key material.
//
// It assumes that the file system honours modes and atomic renames, that the
// clock is right to within ClockSkew, and that whoever may write to an identity
// directory may decide whom the service trusts: a CA file is trusted because it
// lies there.
//
// It does not encrypt keys at rest, does not fetch revocation lists or ask OCSP
// responders, and does not protect against a reader of the process's memory.
//
// Keys: P-256 by default, Ed25519, and RSA of 2048 to 8192 bits from outside. A
// CA may have any key that crypto/x509 verifies, within the same RSA bounds. Box
// keys are X25519, post-quantum box keys X-Wing (MLKEM768-X25519).
//
// Files are those of a Kubernetes TLS secret: tls.crt, tls.key and ca.crt, and
// beside them ca.crl, box.key, pq.key and trust/<domain>.crt. Keys are written as
// PKCS#8; SEC 1 and PKCS#1, which other tools write, are read as well.
package keys

import (
	"errors"
	"time"
)

// What callers branch on. Every error that wraps one says which file, peer or
// name it is about and what to do.
var (
	ErrExpired     = errors.New("expired")
	ErrNotYetValid = errors.New("not yet valid")
	ErrRevoked     = errors.New("revoked")
	ErrUntrusted   = errors.New("not trusted")
	ErrNotSPIFFE   = errors.New("not a SPIFFE leaf")
	ErrInvalidName = errors.New("invalid name")
	ErrMismatch    = errors.New("key does not match certificate")
	ErrStaleCRL    = errors.New("revocation list out of date")
	ErrMode        = errors.New("secret is readable by others")
	ErrPEM         = errors.New("malformed PEM")
)

// ClockSkew is how far the clocks of two machines may differ: certificates and
// revocation lists are issued valid from that long ago.
const ClockSkew = time.Minute
