// Package leaktest fails a package's tests when goroutines outlive them, and knows
// the goroutines of go-micro that nothing can stop.
//
// Which of those are still there when the tests are done depends on the garbage
// collector and on the order of the tests. So they are listed here once, rather than
// in each package those that its author happened to see.
package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and exits. It exits with an error if goroutines
// outlive the tests that are neither Micro's nor have one of the functions named in
// more on their stack.
func Main(m *testing.M, more ...string) {
	goleak.VerifyTestMain(m, Micro(more...)...)
}

// Micro ignores what go-micro starts and never stops, whatever a test does: when it
// is imported, for each memory registry, and for each client's cache of answers,
// whose janitor ends when the garbage collector finds the client. It also ignores
// what runs now, and goroutines with one of the functions named in more on their
// stack.
func Micro(more ...string) []goleak.Option {
	opts := []goleak.Option{
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run.func2"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config/loader/memory.(*memory).Watch.func1"),
		goleak.IgnoreTopFunction("go-micro.dev/v4/registry.(*memRegistry).ttlPrune"),
		goleak.IgnoreTopFunction("github.com/patrickmn/go-cache.(*janitor).Run"),
	}
	for _, function := range more {
		opts = append(opts, goleak.IgnoreAnyFunction(function))
	}
	return opts
}

// Selector names the functions of the cache in a client's selector. It watches the
// registry until the process ends.
func Selector() []string {
	return []string{
		"go-micro.dev/v4/registry/cache.(*cache).run",
		"go-micro.dev/v4/registry/cache.(*cache).watch",
		"go-micro.dev/v4/registry/cache.(*cache).watch.func1",
	}
}

// Memory names the functions in which go-micro's memory registry, broker and
// transport stay when the other end has gone.
func Memory() []string {
	return []string{
		"go-micro.dev/v4/registry.(*memRegistry).sendEvent",
		"go-micro.dev/v4/broker.(*memoryBroker).Subscribe.func1",
		"go-micro.dev/v4/transport.(*memorySocket).Recv",
	}
}

// HTTP names the functions in which idle connections of net/http wait.
func HTTP() []string {
	return []string{
		"net/http.(*persistConn).readLoop",
		"net/http.(*persistConn).writeLoop",
		"net/http.(*conn).serve",
	}
}
