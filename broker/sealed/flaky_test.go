package sealed_test

import (
	"errors"
	"sync/atomic"

	"go-micro.dev/v4/store"
)

// flakyStore is a store that can fail.
type flakyStore struct {
	store.Store
	broken atomic.Bool
}

func (s *flakyStore) fail(is bool) { s.broken.Store(is) }

var errStore = errors.New("the store is down")

func (s *flakyStore) Read(key string, opts ...store.ReadOption) ([]*store.Record, error) {
	if s.broken.Load() {
		return nil, errStore
	}
	return s.Store.Read(key, opts...)
}

func (s *flakyStore) Write(r *store.Record, opts ...store.WriteOption) error {
	if s.broken.Load() {
		return errStore
	}
	return s.Store.Write(r, opts...)
}
