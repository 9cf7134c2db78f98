package identity

import (
	"errors"

	"github.com/go-signet/signet/internal/keys"
)

// What callers branch on. The errors of this package that wrap one of these say
// which file, peer or name they are about, why, and what to do.
var (
	// ErrNoIdentity: no identity was given, and none is named by SIGNET_IDENTITY.
	ErrNoIdentity = errors.New("identity: no identity")
	// ErrClosed: the identity was closed.
	ErrClosed = errors.New("identity: closed: load or issue another")
	// ErrExpired: a certificate, card or entry has ended.
	ErrExpired = keys.ErrExpired
	// ErrNotYetValid: a certificate, card or revocation list has not begun.
	ErrNotYetValid = keys.ErrNotYetValid
	// ErrRevoked: a revocation list in force names the certificate.
	ErrRevoked = keys.ErrRevoked
	// ErrUntrusted: no CA of the ID's own trust domain vouches for it.
	ErrUntrusted = keys.ErrUntrusted
	// ErrNotSPIFFE: a certificate has not the shape of a service's leaf.
	ErrNotSPIFFE = keys.ErrNotSPIFFE
	// ErrInvalidName: a service, trust domain, DNS name or address is malformed.
	ErrInvalidName = keys.ErrInvalidName
	// ErrStaleCRL: a revocation list is past its next update, has gone, or went back
	// to an older number.
	ErrStaleCRL = keys.ErrStaleCRL
	// ErrMode: a secret file can be read by others than its owner.
	ErrMode = keys.ErrMode
	// ErrPEM: a file is not the PEM that it should be.
	ErrPEM = keys.ErrPEM
	// ErrMismatch: a private key does not belong to the certificate beside it.
	ErrMismatch = keys.ErrMismatch
	// ErrSignature: a signature does not verify.
	ErrSignature = errors.New("identity: signature does not verify")
	// ErrCard: a card is malformed.
	ErrCard = errors.New("identity: malformed card")
	// ErrDirectoryFull: the peer directory has reached one of its limits.
	ErrDirectoryFull = errors.New("identity: peer directory is full")
)
