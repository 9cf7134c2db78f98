package signed

import (
	"errors"
	"fmt"

	"github.com/go-signet/signet/identity"
)

// Errors that callers branch on.
var (
	// ErrNoIdentity: no identity was given, and none is named by SIGNET_IDENTITY.
	ErrNoIdentity = identity.ErrNoIdentity
	// ErrInvalid: a registration cannot be signed as it is.
	ErrInvalid = errors.New("signed: invalid registration")
	// ErrUnauthorised: this identity may not register that service name.
	ErrUnauthorised = errors.New("signed: not authorised")
	// ErrForeign: the node is somebody else's, who has signed it.
	ErrForeign = errors.New("signed: foreign node")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("signed: closed")
)

// What the parser and the encoder find; reasonOf turns them into reasons.
var (
	errMalformed = errors.New("malformed")
	errLimit     = errors.New("over the limit")
)

// Reason is why a node, or a part of it, was not let through. The strings are
// stable: use them as labels of metrics.
type Reason string

// The reasons, in the order of the checks.
const (
	Limit        Reason = "limit"         // too large or too many; see the limits
	Unsigned     Reason = "unsigned"      // there is no record
	Malformed    Reason = "malformed"     // there is something, and it is no record
	NotYetValid  Reason = "not-yet-valid" // issued more than a minute ahead: look at the clocks
	Expired      Reason = "expired"       // the record, or a certificate of its chain, has ended
	Untrusted    Reason = "untrusted"     // no CA in force vouches for the signer
	Revoked      Reason = "revoked"       // a revocation list names the signer's certificate
	Unauthorised Reason = "unauthorised"  // the signer may not register this name
	Replayed     Reason = "replayed"      // a newer record, or a withdrawal, has been seen
	Equivocation Reason = "equivocation"  // one sequence number, two different statements
	Altered      Reason = "altered"       // the signature is not over what the registry says
	Endpoints    Reason = "endpoints"     // not the endpoints that were registered: removed, the node stays
	Metadata     Reason = "metadata"      // not the service metadata that was registered: removed, the node stays
)

// Rejection is one node, or part of one, that a registry offered and that did not
// verify.
//
// WARNING: Service, Version, Node and Address are as the registry gave them, cut to
// 300 bytes. Quote them before they go to a terminal or a log.
type Rejection struct {
	Service, Version string
	Node, Address    string
	Reason           Reason
	Err              error         // what exactly, fit for a log
	Peer             identity.Peer // the signer, once its chain has verified; else zero
	// Passed: the node was let through nevertheless, because the service is under
	// InsecureAudit, or because only the part that Reason names was removed.
	Passed bool
}

// rejected is an error with its reason.
type rejected struct {
	reason Reason
	err    error
}

func (r *rejected) Error() string { return r.err.Error() }
func (r *rejected) Unwrap() error { return r.err }

func reject(reason Reason, format string, args ...any) error {
	return &rejected{reason, fmt.Errorf(format, args...)}
}

// reasonOf classifies an error of the checks.
func reasonOf(err error) Reason {
	var r *rejected
	switch {
	case errors.As(err, &r):
		return r.reason
	case errors.Is(err, errLimit):
		return Limit
	case errors.Is(err, errMalformed):
		return Malformed
	case errors.Is(err, identity.ErrRevoked):
		return Revoked
	case errors.Is(err, identity.ErrExpired):
		return Expired
	case errors.Is(err, identity.ErrNotYetValid):
		return NotYetValid
	}
	return Untrusted
}
