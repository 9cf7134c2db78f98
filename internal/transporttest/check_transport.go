package transporttest

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"go-micro.dev/v4/transport"
)

func transportChecks() []check {
	return []check{
		{name: "transport/is a pointer, unlike any other", run: pointerType},
		{name: "transport/says its name", run: ownName},
		{name: "transport/keeps its options", opts: []transport.Option{transport.Timeout(time.Minute)}, run: keepsOptions},
		{name: "transport/Init changes options", run: initOptions},
	}
}

// pointerType: the client compares transports with != to see whether Init
// brought another one. Comparing structures could panic, or find two alike.
func pointerType(e *env) error {
	if k := reflect.TypeOf(e.tr).Kind(); k != reflect.Pointer {
		return fmt.Errorf("the transport is a %v, not a pointer", k)
	}
	if e.tr == e.make() {
		return errors.New("two transports compare equal")
	}
	return nil
}

// ownName: go-micro's command line finds a transport by its name.
func ownName(e *env) error {
	if got := e.tr.String(); got != e.name {
		return fmt.Errorf("String() = %q, want %q", got, e.name)
	}
	return nil
}

func keepsOptions(e *env) error {
	if got := e.tr.Options().Timeout; got != time.Minute {
		return fmt.Errorf("Options().Timeout = %v, want the minute it was made with", got)
	}
	return nil
}

// initOptions: Init adds to the options, and the transport works on.
func initOptions(e *env) error {
	if err := e.tr.Init(transport.Timeout(time.Minute)); err != nil {
		return fmt.Errorf("Init: %w", err)
	}
	if got := e.tr.Options().Timeout; got != time.Minute {
		return fmt.Errorf("Options().Timeout = %v after Init with a minute", got)
	}
	s := e.serve(anyPort, echo)
	return e.echoed(e.dial(s.Addr()), message("after Init"))
}
