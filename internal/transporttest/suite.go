// Package transporttest holds any go-micro transport.Transport to one
// contract: what go-micro's client, server and connection pool rely on, and
// what its own transport tests exercise.
//
// Run checks the transport through its public interface, RunRPC checks
// go-micro services on top of it. Both run over go-micro's http and memory
// transports too. Those break the contract in places; Caps names each place
// with its reason, and the check then asserts that the deviation is still
// there, so nothing is passed over in silence.
//
// What a check waits for, it waits for by channels or by the transport's own
// progress. Time only bounds how long a thing may stay away.
package transporttest

import (
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"go-micro.dev/v4/transport"
	"go.uber.org/goleak"
)

const (
	// patience bounds what the contract promises to happen.
	patience = 20 * time.Second
	// impatience bounds what a transport is known not to do.
	impatience = 250 * time.Millisecond
)

// Constructor makes a transport that can dial the listeners it opens itself.
// A transport that implements io.Closer is closed at the end of its check.
type Constructor func(t *testing.T, opts ...transport.Option) transport.Transport

// check is one line of the contract. It returns an error where the transport
// breaks that line, and ends the test where something else is wrong.
type check struct {
	name string
	// needs is the capability that the line is about; none means that every
	// transport keeps it.
	needs Capability
	// opts are options that the transport is made with.
	opts []transport.Option
	// chance marks a check that a transport without the capability may pass.
	chance bool
	// fatal marks a check that would end the process with a transport that
	// lacks the capability. It is run only with it.
	fatal bool
	run   func(*env) error
}

// Run checks that a transport keeps the drop-in contract. The name is the one
// that its String method must return.
func Run(t *testing.T, name string, newTransport func(t *testing.T, opts ...transport.Option) transport.Transport, caps Caps) {
	t.Helper()
	runAll(t, name, newTransport, caps, socketChecks())
}

func socketChecks() []check {
	return slices.Concat(
		transportChecks(),
		dialChecks(),
		poolChecks(),
		messageChecks(),
		memoryChecks(),
		concurrencyChecks(),
		loadChecks(),
		closeChecks(),
		flushChecks(),
		timeoutChecks(),
		listenChecks(),
		acceptChecks(),
	)
}

// known says whether any check is about the capability.
func known(c Capability) bool {
	return slices.ContainsFunc(slices.Concat(socketChecks(), serviceLevelChecks()), func(k check) bool {
		return k.needs == c && c != ""
	})
}

// runAll runs the checks in order, and at the end asks for the goroutines.
func runAll(t *testing.T, name string, newTransport Constructor, caps Caps, checks []check) {
	t.Helper()
	for c := range caps.Off {
		if !known(c) {
			t.Fatalf("no check is about the capability %q", c)
		}
	}
	before := []goleak.Option{
		goleak.IgnoreCurrent(),
		// go-micro's config package starts them when it is imported, and may
		// not be done with that.
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run.func2"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config/loader/memory.(*memory).Watch.func1"),
	}
	for function := range caps.Leaks {
		before = append(before, goleak.IgnoreAnyFunction(function))
	}
	t.Run(name, func(t *testing.T) {
		for _, c := range checks {
			t.Run(c.name, func(t *testing.T) { c.exec(t, name, newTransport, caps) })
		}
		t.Run("end/goroutines are gone", func(t *testing.T) {
			for function, reason := range caps.Leaks {
				t.Logf("known leak, not counted: %s: %s", function, reason)
			}
			if err := noneLeft(before, patience/2); err != nil {
				t.Error(err)
			}
		})
	})
}

// noneLeft asks for leaked goroutines until there are none. goleak itself
// gives up within a second, which is short for a loaded machine. The cache of
// a go-micro client ends when the client is collected as garbage.
func noneLeft(ignore []goleak.Option, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; {
		runtime.GC()
		err := goleak.Find(ignore...)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (c check) exec(t *testing.T, name string, newTransport Constructor, caps Caps) {
	reason, off := caps.Off[c.needs]
	if off && c.fatal {
		t.Logf("lacks %s (%s); not provoked, it would end the process", c.needs, reason)
		return
	}
	e := newEnv(t, name, newTransport, caps, c.opts)
	if off {
		e.patience = impatience
	}
	err := c.run(e)
	switch {
	case !off && err != nil:
		t.Error(err)
	case off && err != nil:
		t.Logf("lacks %s (%s): %v", c.needs, reason, err)
	case off && c.chance:
		t.Logf("lacks %s (%s); it did not show this time", c.needs, reason)
	case off:
		t.Errorf("said to lack %s (%s), but keeps it: take it off the list", c.needs, reason)
	}
}

// newEnv makes a transport for one check and ends it with the check.
func newEnv(t *testing.T, name string, newTransport Constructor, caps Caps, opts []transport.Option) *env {
	t.Helper()
	e := &env{T: t, name: name, caps: caps, patience: patience}
	e.make = func(opts ...transport.Option) transport.Transport {
		tr := newTransport(t, opts...)
		if c, ok := tr.(io.Closer); ok {
			t.Cleanup(func() {
				if err := e.finish("Close of the transport", c.Close); err != nil {
					t.Error(err)
				}
			})
		}
		return tr
	}
	e.tr = e.make(opts...)
	return e
}
