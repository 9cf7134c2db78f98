package sealed_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// What go-micro starts and never stops: its config package when it is imported, its
	// memory registry and transport, its http broker's connections, the cache of its
	// selector; and what the NATS server leaves running for a moment.
	goleak.VerifyTestMain(m,
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config.(*config).run.func2"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/config/loader/memory.(*memory).Watch.func1"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/registry.(*memRegistry).ttlPrune"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/registry.(*memRegistry).sendEvent"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/broker.(*memoryBroker).Subscribe.func1"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/registry/cache.(*cache).run"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/registry/cache.(*cache).watch"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/registry/cache.(*cache).watch.func1"),
		goleak.IgnoreAnyFunction("go-micro.dev/v4/server.(*rpcServer).ServeConn"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("github.com/patrickmn/go-cache.(*janitor).Run"),
	)
}
