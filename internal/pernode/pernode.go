// Package pernode lets a wrapper ask a registry for its records one by one.
//
// go-micro's GetService merges the nodes of a service by version and keeps the
// endpoints and metadata of one of them. What the other nodes were registered with
// is lost, so a wrapper could not check it. A registry that knows this option
// answers instead with one service for each node record, with the endpoints and
// metadata of that record. One that does not know it ignores it, as go-micro's
// registries do with everything in a context.
package pernode

import (
	"context"

	"go-micro.dev/v4/registry"
)

type key struct{}

// Option asks GetService not to merge records. It goes into the context of the
// call, so registry.GetContext must come before it, not after.
func Option() registry.GetOption {
	return func(o *registry.GetOptions) {
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, key{}, true)
	}
}

// Asked reports whether Option was among the options of a call. A nil o is no
// question.
func Asked(o *registry.GetOptions) bool {
	if o == nil || o.Context == nil {
		return false
	}
	asked, _ := o.Context.Value(key{}).(bool)
	return asked
}
