package etcd_test

import (
	"fmt"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/registry/etcd"
	"go-micro.dev/v4/registry"
)

func ExampleNewRegistry() {
	// In production: identity.Load("keys/greeter"), made by signet issue.
	authority, err := identity.NewAuthority("shop.internal")
	if err != nil {
		panic(err)
	}
	id, err := authority.Issue("greeter")
	if err != nil {
		panic(err)
	}
	defer id.Close()

	reg := etcd.NewRegistry(registry.Addrs("etcd-1", "etcd-2:2379"), etcd.Identity(id))
	fmt.Println(reg, reg.Init())

	// What is refused says what to do.
	fmt.Println(reg.Init(registry.Addrs("http://etcd-1")))
	// Output:
	// etcd <nil>
	// etcd: bad address: "http://etcd-1" in registry.Addrs or $MICRO_REGISTRY_ADDRESS: http is in clear: write https, or set etcd.Insecure for development
}
