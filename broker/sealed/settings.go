package sealed

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/store"
)

// settings are options that were found in order. They do not change.
type settings struct {
	id       *identity.Identity
	self     keys.ID
	rules    *rules
	maxAge   time.Duration
	rotate   time.Duration
	omitCard bool
	store    store.Store
	registry registry.Registry

	onReject  func(Rejection)
	onMissing func(pattern string, subscribers []string)
}

// newSettings makes settings of options, for an identity.
func newSettings(o *broker.Options, id *identity.Identity) (*settings, error) {
	s := &settings{id: id, registry: o.Registry}
	var err error
	if s.self, err = keys.ParseID(id.ID()); err != nil {
		return nil, fmt.Errorf("sealed: %w: the identity has no ID: use identity.Load or Authority.Issue", ErrNoIdentity)
	}
	topics, _ := option[[]topicRule](o.Context, topicsKey{})
	if s.rules, err = newRules(topics, s.self); err != nil {
		return nil, err
	}
	if s.maxAge, err = between(o, maxAgeKey{}, "MaxAge", DefaultMaxAge, leastMaxAge, mostMaxAge); err != nil {
		return nil, err
	}
	if s.rotate, err = between(o, rotateKey{}, "RotateEvery", DefaultRotateEvery, leastRotate, mostRotate); err != nil {
		return nil, err
	}
	s.omitCard, _ = option[bool](o.Context, omitCardKey{})
	s.onReject, _ = option[func(Rejection)](o.Context, onRejectKey{})
	s.onMissing, _ = option[func(string, []string)](o.Context, onMissingKey{})
	if shared, given := option[sharedStore](o.Context, storeKey{}); given {
		if shared.Store == nil {
			return nil, errors.New("sealed: ReplayStore(nil): give a store, or leave the option out")
		}
		s.store = shared.Store
	}
	return s, nil
}

func between(o *broker.Options, key any, name string, d, least, most time.Duration) (time.Duration, error) {
	given, ok := option[time.Duration](o.Context, key)
	switch {
	case !ok:
		return d, nil
	case given < least || given > most:
		return 0, fmt.Errorf("sealed: %s(%v): want %v to %v", name, given, least, most)
	}
	return given, nil
}
