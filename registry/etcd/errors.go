package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrTaken is the error for a record that somebody else has registered.
	ErrTaken = errors.New("the record belongs to another owner")
	// ErrNoIdentity is the error if nothing says who we are and whom to trust.
	ErrNoIdentity = errors.New("no identity")
	// ErrInsecure is the error for options that would give up protection.
	ErrInsecure = errors.New("insecure configuration")
	// ErrAddress is the error for addresses that cannot be used.
	ErrAddress = errors.New("bad address")
	// ErrInvalid is the error for what cannot be registered or asked for.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge is the error for a record beyond Limits.Record.
	ErrTooLarge = errors.New("record too large")
	// ErrClosed is the error after Close.
	ErrClosed = errors.New("the registry is closed")

	errDeregistered = errors.New("deregistered meanwhile")
	errContended    = errors.New("others kept changing the record")
)

// transient reports whether an error of a request may be gone at the next attempt.
// expired says that the attempt ran out of its own time.
func transient(err error, expired bool) bool {
	// A client that Init replaced reports what was under way as cancelled.
	// One that is asked for a token has less time than the attempt.
	return expired || unavailable(err) || status.Code(err) == codes.Canceled || errors.Is(err, context.DeadlineExceeded)
}

// unavailable reports whether a server cannot be reached, or has no leader.
func unavailable(err error) bool {
	var coded rpctypes.EtcdError
	if errors.As(err, &coded) {
		return coded.Code() == codes.Unavailable
	}
	return status.Code(err) == codes.Unavailable
}

// explain makes the error of a call: what was tried, why it failed, what to do. last
// is the error of the latest attempt; err is last or the end of the context.
func (s *settings) explain(what string, err, last error) error {
	var remedy string
	switch {
	case ours(err):
		return err
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		remedy = "grant the role of this service's account readwrite on its own prefix, and read on those that it calls"
	case errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed):
		remedy = "etcd wants an account: set etcd.Auth, or add one named as the client certificate's common name"
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("etcd: %s: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded), transient(err, false):
		remedy = fmt.Sprintf("check that etcd runs at %s, has a majority, and accepts our certificate", strings.Join(s.endpoints, ", "))
		if last != nil && !errors.Is(last, context.DeadlineExceeded) && !errors.Is(last, err) {
			return fmt.Errorf("etcd: %s: %w (at last: %w): %s", what, err, last, remedy)
		}
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		remedy = "register less metadata, or raise etcd's --max-request-bytes"
	default:
		return fmt.Errorf("etcd: %s: %w", what, err)
	}
	return fmt.Errorf("etcd: %s: %w: %s", what, err, remedy)
}

// ours reports whether an error was made by this package and says it all.
func ours(err error) bool {
	for _, e := range []error{ErrTaken, ErrNoIdentity, ErrInsecure, ErrAddress, ErrInvalid, ErrTooLarge, ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
