package sealed

import (
	"errors"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/envelope"
)

// Errors that callers branch on.
var (
	// ErrNoIdentity: no identity was given, and none is named by SIGNET_IDENTITY.
	ErrNoIdentity = identity.ErrNoIdentity
	// ErrNoRule: no rule is for the topic.
	ErrNoRule = errors.New("sealed: no rule for this topic")
	// ErrNotPublisher: the topic's rule does not let this identity publish.
	ErrNotPublisher = errors.New("sealed: not a publisher of this topic")
	// ErrNotSubscriber: no rule lets this identity read the topic.
	ErrNotSubscriber = errors.New("sealed: not a subscriber of this topic")
	// ErrNoRecipients: the box key of none of the topic's subscribers is known.
	ErrNoRecipients = errors.New("sealed: no recipients")
	// ErrLimit: a message is too large, or has too much of something.
	ErrLimit = envelope.ErrLimit
)

// errRefused is all that a broker learns of a message that it should deliver again.
var errRefused = errors.New("sealed: message refused")

// Reason is why a message was refused. The strings are stable: use them as labels of
// metrics.
type Reason string

// The reasons.
const (
	ReasonUnsealed     Reason = "unsealed"      // it is no envelope, or did not come through the broker
	ReasonSuite        Reason = "suite"         // of a version or suite that is unknown, or not accepted
	ReasonTopic        Reason = "topic"         // no rule for its topic, or its Micro-Topic header says otherwise
	ReasonPublisher    Reason = "publisher"     // its sender may not publish there, or does not prove who it is
	ReasonNotRecipient Reason = "not_recipient" // it is sealed, and not to us
	ReasonTampered     Reason = "tampered"      // it does not verify
	ReasonReplay       Reason = "replay"        // it was handled, or is being handled
	ReasonExpired      Reason = "expired"       // older than MaxAge, or from the future: look at the clocks
	ReasonLimit        Reason = "limit"         // too large, or too many
)

// Rejection is a message that was not delivered.
//
// WARNING: Topic and Claimed are as the broker gave them, of at most 600 bytes. Quote them
// before they go to a terminal or a log.
type Rejection struct {
	Topic   string
	Claimed string        // the SPIFFE ID that the message says it is from
	Peer    identity.Peer // who it is from, once that was proved; else zero
	Reason  Reason
	Err     error // what exactly, fit for a log
	// Again: the broker was told to deliver it again.
	Again bool
}

// rejected is an error with its reason.
type rejected struct {
	reason Reason
	again  bool
	err    error
}

func (r *rejected) Error() string { return r.err.Error() }
func (r *rejected) Unwrap() error { return r.err }

func reject(reason Reason, err error) error { return &rejected{reason: reason, err: err} }

// tryAgain is for what may be otherwise a moment later, or at another receiver.
func tryAgain(reason Reason, err error) error {
	return &rejected{reason: reason, again: true, err: err}
}

// judge classifies an error of the checks.
func judge(err error) (reason Reason, again bool) {
	var r *rejected
	switch {
	case errors.As(err, &r):
		return r.reason, r.again
	case errors.Is(err, envelope.ErrSuite):
		return ReasonSuite, false
	case errors.Is(err, envelope.ErrLimit):
		return ReasonLimit, false
	case errors.Is(err, envelope.ErrNotRecipient):
		return ReasonNotRecipient, false
	}
	return ReasonTampered, false
}
