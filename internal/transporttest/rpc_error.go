package transporttest

import (
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v4/client"
	merrors "go-micro.dev/v4/errors"
)

// soon is the time after which a call that is not answered times out.
const soon = 150 * time.Millisecond

func errorChecks() []check {
	return []check{
		{name: "error/of the handler", run: handlerError},
		{name: "error/of the handler, any text", needs: ExactHeaders, run: handlerErrorText},
		{name: "error/of the handler, 1000 in a row", run: handlerErrors},
		{name: "error/panic in the handler", run: handlerPanic},
		{name: "error/timeout of a call", run: timeouts(callTimeout(soon))},
		{name: "error/timeout of a request", run: timeouts(client.WithRequestTimeout(soon), callTimeout(2*soon))},
		{name: "error/late answers reach nobody", run: lateAnswers},
		{name: "error/unknown method", run: unknownMethod},
	}
}

// fails calls a handler that returns this error.
func (f *fleet) fails(text string) error {
	var out string
	if err := f.call("Fail", &text, &out); err == nil || err.Error() != text {
		return fmt.Errorf("the handler's error %q arrived as %q", text, fmt.Sprint(err))
	}
	return nil
}

// handlerError: go-micro's own errors are JSON, of which the client reads code
// and detail.
func handlerError(e *env) error {
	f := e.fleet()
	for _, err := range []error{
		errors.New("no such order"),
		merrors.Forbidden(Service, "not for %q: %d%% sure", "you", 100),
	} {
		if err := f.fails(err.Error()); err != nil {
			return err
		}
		if err := f.works("after an error"); err != nil {
			return err
		}
	}
	return nil
}

func handlerErrorText(e *env) error {
	f := e.fleet()
	for _, text := range []string{"two\nlines", "  blanks  ", "größe", "\x00 and \x7f"} {
		if err := f.fails(text); err != nil {
			return err
		}
	}
	return nil
}

// handlerErrors: each error closes the pooled connection.
func handlerErrors(e *env) error {
	f := e.fleet()
	for i := range 1000 {
		if err := f.fails(fmt.Sprint("error ", i)); err != nil {
			return err
		}
	}
	return f.works("after 1000 errors")
}

// handlerPanic: go-micro's server recovers and answers nothing.
func handlerPanic(e *env) error {
	f := e.fleet()
	for range 3 {
		var text string
		err := f.call("Panic", &text, &text, callTimeout(soon))
		if code := merrors.Parse(fmt.Sprint(err)).Code; code != 408 {
			return fmt.Errorf("a call whose handler panics ended with %w, want a timeout", err)
		}
		if err := f.works("after a panic"); err != nil {
			return err
		}
	}
	return nil
}

// timeouts: the client gives the connection up with a Recv in progress, and
// the next call has another.
func timeouts(opts ...client.CallOption) func(*env) error {
	return func(e *env) error {
		f := e.fleet()
		for range 3 {
			err := f.answers("Block", "never", opts...)
			if code := merrors.Parse(fmt.Sprint(errors.Unwrap(err))).Code; code != 408 {
				return fmt.Errorf("a call that is not answered ended with %w, want a timeout", err)
			}
			if err := f.works("after a timeout"); err != nil {
				return err
			}
		}
		return nil
	}
}

// lateAnswers: the answer to a call that timed out must not be taken for the
// answer to the next.
func lateAnswers(e *env) error {
	f := e.fleet()
	const calls = 5
	for i := range calls {
		if err := f.answers("Block", fmt.Sprint("late ", i), callTimeout(soon)); err == nil {
			return errors.New("a blocked handler answered")
		}
	}
	for range calls {
		if _, err := signal(e, "the handler", f.probe.entered); err != nil {
			return err
		}
	}
	f.probe.release()
	for i := range 50 {
		if err := f.works(fmt.Sprint("own ", i)); err != nil {
			return err
		}
	}
	return nil
}

func unknownMethod(e *env) error {
	f := e.fleet()
	if err := f.answers("Nothing", "hello"); err == nil || errors.Is(err, errBlocked) {
		return fmt.Errorf("a call of an unknown method returned %v, want an error", err)
	}
	return f.works("after")
}
