package encrypted

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
	merrors "go-micro.dev/v4/errors"
)

// Errors that callers branch on. go-micro turns what a codec returns into text; the
// client of ClientOptions turns it back.
var (
	// ErrNoIdentity: no identity was given, or it can no longer be used.
	ErrNoIdentity = errors.New("encrypted: no identity")
	// ErrNoKeys: no box key of the service is known, so that nothing was sent.
	ErrNoKeys = errors.New("encrypted: no box key")
	// ErrUnauthenticated: an answer did not come from the service that was called, or
	// not for this call. Whether the call was carried out is not known.
	ErrUnauthenticated = errors.New("encrypted: answer not authenticated")
	// ErrClear: something would go out, or has come, in clear.
	ErrClear = errors.New("encrypted: refusing clear text")
	// ErrContentType: a content type is one of go-micro's own, or names no codec of
	// ours.
	ErrContentType = errors.New("encrypted: content type")
	// ErrTooLarge: a message, or a name in it, is over a limit.
	ErrTooLarge = errors.New("encrypted: too large")
	// ErrRefused: what came is not accepted. Rejection says why.
	ErrRefused = errors.New("encrypted: refused")
	// ErrInner: the codec inside cannot be used, or has failed.
	ErrInner = errors.New("encrypted: inner codec")
)

var sentinels = []error{ErrNoIdentity, ErrNoKeys, ErrUnauthenticated, ErrClear, ErrContentType, ErrTooLarge, ErrRefused, ErrInner}

// refusal is what peers are told, whatever the reason.
const refusal = "encrypted: refused: the service's log says why"

// Reason is why something that came was not accepted. The strings are stable: use
// them as labels of metrics.
type Reason string

// The reasons.
const (
	Clear        Reason = "clear"         // not sealed
	Empty        Reason = "empty"         // no body at all
	Malformed    Reason = "malformed"     // no envelope, or no answer
	Suite        Reason = "suite"         // of a version, suite or mode that is not known
	Limit        Reason = "limit"         // too large, too many, or too fast
	Misdirected  Reason = "misdirected"   // for another service, or another use
	UnknownEpoch Reason = "unknown-epoch" // it does not say how it was sealed
	Sender       Reason = "sender"        // not the sender's key, or nobody vouches for it
	NotRecipient Reason = "not-recipient" // sealed to other keys than ours
	Tampered     Reason = "tampered"      // something does not verify
	Stale        Reason = "stale"         // too old, from before our start, or from the future: look at the clocks
	Replay       Reason = "replay"        // it was handled before
	Unauthorised Reason = "unauthorised"  // Authorize refuses the sender
	Encoding     Reason = "encoding"      // an answer of ours could not be encoded
)

// Rejection is something that came and was not accepted, or an answer of ours that
// could not be encoded.
//
// WARNING: Target is as it came, cut to 300 bytes. Quote it before it goes to a
// terminal or a log.
type Rejection struct {
	Target string // service and endpoint, or topic; "" if not known
	Reason Reason
	Err    error         // what exactly, fit for a log
	Peer   identity.Peer // the sender, once proved; else zero
}

// rejected is an error with its reason.
type rejected struct {
	reason Reason
	err    error
	peer   identity.Peer
}

func (r *rejected) Error() string { return r.err.Error() }
func (r *rejected) Unwrap() error { return r.err }

func reject(reason Reason, format string, args ...any) error {
	return &rejected{reason: reason, err: fmt.Errorf(format, args...)}
}

// reasonOf classifies an error of opening.
func reasonOf(err error) Reason {
	var r *rejected
	switch {
	case errors.As(err, &r):
		return r.reason
	case errors.Is(err, envelope.ErrMalformed):
		return Malformed
	case errors.Is(err, envelope.ErrSuite):
		return Suite
	case errors.Is(err, envelope.ErrLimit):
		return Limit
	case errors.Is(err, envelope.ErrNotRecipient):
		return NotRecipient
	}
	return Tampered
}

// typed is an error of go-micro whose cause can be asked for again.
type typed struct {
	error
	cause error
}

func (t *typed) Unwrap() []error { return []error{t.error, t.cause} }

// restore gives an error of our codec, which go-micro's client has turned into text,
// its cause back. An error of the service is of another type.
func restore(err error) error {
	e, ok := err.(*merrors.Error)
	if !ok || e.Id != "go.micro.client.codec" && e.Id != "go.micro.client" {
		return err
	}
	for _, cause := range sentinels {
		if strings.HasPrefix(e.Detail, cause.Error()) {
			return &typed{err, cause}
		}
	}
	return err
}

func quote(s string) string { return keys.Quote(s) }

// cut bounds what a peer chose.
func cut(s string) string {
	const most = 300
	return s[:min(len(s), most)]
}
