package quic

import "errors"

// Errors that callers branch on. The text of what is returned says more: the
// cause, and what to do.
var (
	// ErrNoIdentity: neither quic.Identity nor transport.TLSConfig was given and
	// SIGNET_IDENTITY names no usable identity.
	ErrNoIdentity = errors.New("no identity")

	// ErrInsecure: an option asks for less than mutual TLS 1.3.
	ErrInsecure = errors.New("refusing an insecure configuration")

	// ErrWrongService: the peer proved to be another service than the one that
	// was called. Nothing was sent.
	ErrWrongService = errors.New("wrong service")

	// ErrWrongPeer: the peer proved to be another identity than the ones bound
	// to the dialled address. Nothing was sent.
	ErrWrongPeer = errors.New("wrong peer")

	// ErrUnauthorized: an Authorize function refused the peer, or the peer's
	// refused us.
	ErrUnauthorized = errors.New("not authorized")

	// ErrTooLarge: a message exceeds a limit.
	ErrTooLarge = errors.New("message too large")

	// ErrMalformed: what the peer sent is not a message.
	ErrMalformed = errors.New("malformed message")

	// ErrUnreachable: the peer does not answer.
	ErrUnreachable = errors.New("peer unreachable")

	// ErrClosed: the transport or listener was closed.
	ErrClosed = errors.New("closed")

	// ErrPoisoned: an earlier operation on the socket stopped halfway, so what
	// is on the wire is no longer known.
	ErrPoisoned = errors.New("socket unusable after a partial message")
)
