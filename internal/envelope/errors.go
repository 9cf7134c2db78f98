package envelope

import "errors"

// Why something was refused. They are for our own hooks: do not tell the sender.
var (
	// ErrMalformed: it is no envelope.
	ErrMalformed = errors.New("envelope: malformed")
	// ErrSuite: of a version, suite or mode that is not known here.
	ErrSuite = errors.New("envelope: unknown version, suite or mode")
	// ErrLimit: larger, or more, than allowed.
	ErrLimit = errors.New("envelope: over the limit")
	// ErrNotRecipient: no grant is for our key.
	ErrNotRecipient = errors.New("envelope: not sealed to us")
	// ErrTampered: something does not verify.
	ErrTampered = errors.New("envelope: does not verify")
	// ErrExhausted: an epoch has sealed all the messages that it may.
	ErrExhausted = errors.New("envelope: the epoch is used up")
	// ErrKey: a key is none, or of low order.
	ErrKey = errors.New("envelope: unusable key")
)
