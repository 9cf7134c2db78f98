package signed

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/util/cmd"
)

// EnvInner names the environment variable that names the inner registry where Wrap
// does not give it, as MICRO_REGISTRY names one to go-micro: by the name under which
// its package enters itself in cmd.DefaultRegistries. So
// MICRO_REGISTRY=signed SIGNET_REGISTRY=etcd needs no code but imports.
const EnvInner = "SIGNET_REGISTRY"

// inner returns the registry to wrap. The caller holds setup.
func (r *signedRegistry) inner() (registry.Registry, error) {
	o := r.Options()
	given, ok := lookup[wrapped](o.Context, wrapKey{})
	inner := given.Registry
	switch name := os.Getenv(EnvInner); {
	case ok && inner == nil:
		return nil, errors.New("signed: Wrap(nil): give a registry, or leave the option out")
	case ok:
	case name != "":
		return r.byName(name)
	case r.fallback == nil:
		return nil, fmt.Errorf("signed: go-micro has no default registry to wrap: give one by signed.Wrap, or name one in $%s", EnvInner)
	default:
		inner = r.fallback
	}
	if isSigned(inner) {
		return nil, errors.New("signed: the registry to wrap is a signed one already: give the one inside it by signed.Wrap")
	}
	return inner, nil
}

// byName makes the registry that the environment names, once.
func (r *signedRegistry) byName(name string) (registry.Registry, error) {
	if r.named != nil {
		return r.named, nil
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(cmd.DefaultRegistries)), func(n string) bool { return n == pluginName })
	if r.fallback != nil && !isSigned(r.fallback) {
		if r.fallback.String() == name {
			return r.fallback, nil
		}
		known = append(known, r.fallback.String())
	}
	construct := cmd.DefaultRegistries[name]
	if name == pluginName || construct == nil {
		return nil, fmt.Errorf("signed: %s is %s, which is none of %s: name one of them, or import the package of the other", EnvInner, keys.Quote(name), strings.Join(known, ", "))
	}
	r.mu.Lock()
	opts := slices.Clone(r.given)
	r.mu.Unlock()
	inner := construct(opts...)
	switch {
	case inner == nil:
		return nil, fmt.Errorf("signed: %s is %s, whose constructor has made nothing: look at its own settings", EnvInner, keys.Quote(name))
	case isSigned(inner):
		return nil, fmt.Errorf("signed: %s is %s, which is a signed registry itself: name the one inside it", EnvInner, keys.Quote(name))
	}
	r.named = inner
	return inner, nil
}

func isSigned(r registry.Registry) bool {
	_, ok := r.(*signedRegistry)
	return ok
}
