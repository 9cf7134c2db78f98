package nats

import (
	"errors"
	"fmt"
)

var (
	// ErrNotConnected is the error before Connect, after Disconnect and while
	// Disconnect drains.
	ErrNotConnected = errors.New("not connected")
	// ErrNoIdentity is the error if TLS is asked for, and nothing says whom to trust.
	ErrNoIdentity = errors.New("no identity")
	// ErrInsecure is the error for options that would give up protection.
	ErrInsecure = errors.New("insecure configuration")
	// ErrAddress is the error for addresses that cannot be used.
	ErrAddress = errors.New("bad address")
	// ErrInvalid is the error for topics, queues, messages and options that cannot be
	// used.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge is the error for a message beyond what the server takes.
	ErrTooLarge = errors.New("message too large")
	// ErrDenied is the error for what the server's permissions do not allow.
	ErrDenied = errors.New("not permitted")
	// ErrMalformed is the error of a message whose headers cannot be what a publisher
	// meant; it is not delivered.
	ErrMalformed = errors.New("malformed headers")
	// ErrSlow is the error if a subscription's handler is slower than its messages
	// come, and some were dropped.
	ErrSlow = errors.New("slow handler: messages dropped")
	// ErrPanic is the error of a handler that panicked.
	ErrPanic = errors.New("the handler panicked")
	// ErrDrain is the error if handlers had not finished within the drain timeout, or the
	// link was lost before all was sent.
	ErrDrain = errors.New("drain incomplete")
	// ErrStream is the error if JetStream does not have what is asked of it.
	ErrStream = errors.New("stream not usable")
)

func invalidf(format string, args ...any) error {
	return fmt.Errorf("nats: %w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// ours reports whether an error was made by this package and says it all.
func ours(err error) bool {
	for _, e := range []error{ErrNotConnected, ErrNoIdentity, ErrInsecure, ErrAddress, ErrInvalid, ErrTooLarge, ErrDenied, ErrStream} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
