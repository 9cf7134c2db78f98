package nats

import (
	"runtime"
	"runtime/debug"
	"strings"

	"go-micro.dev/v4/broker"
)

// event is a message of core NATS, which knows no acknowledgements.
type event struct {
	topic   string
	message broker.Message
	err     error
}

// Topic returns the subject that the message was published to.
func (e *event) Topic() string { return e.topic }

// Message returns the message, the same at each call. It is the handler's own.
func (e *event) Message() *broker.Message { return &e.message }

// OwnsBody returns true: nobody else has the body's memory, so that a wrapper may write
// over it.
func (e *event) OwnsBody() bool { return true }

// Error returns the error that is reported, for the ErrorHandler.
func (e *event) Error() error { return e.err }

// Ack does nothing.
func (e *event) Ack() error { return nil }

// Nak does nothing.
func (e *event) Nak() error { return nil }

// Term does nothing.
func (e *event) Term() error { return nil }

// invoke runs a handler. A panic becomes an error.
func invoke(h broker.Handler, e broker.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return h(e)
}

// calledByHandler reports whether the caller runs inside a handler or ErrorHandler of a
// subscription, of this broker or of another: it must not wait for handlers then.
func calledByHandler() bool {
	const most = 4096
	for size := 64; ; size *= 4 {
		pcs := make([]uintptr, size)
		n := runtime.Callers(1, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for {
			frame, more := frames.Next()
			if strings.HasSuffix(frame.Function, "broker/nats.(*listener).deliver") || strings.HasSuffix(frame.Function, "broker/nats.(*consumer).handle") {
				return true
			}
			if !more {
				break
			}
		}
		if n < size || size >= most {
			return false
		}
	}
}
