package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-signet/signet/internal/keys"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxTries is how often a write is tried while others change the same key.
const maxTries = 8

// wanted is a record that etcd shall have.
type wanted struct {
	key         string
	service, id string
	address     string
	value       []byte
	ttl         int64 // seconds; 0 for no lease
}

// standing says whose the value at a key is, seen from our side.
type standing int

const (
	nobodys standing = iota // there is none, or one that is no record
	own                     // written by this registry
	earlier                 // our owner's, by another process
	foreign                 // another owner's
)

// judge tells whose the value at the key of w is.
func (r *etcdRegistry) judge(set *settings, w wanted, kv *mvccpb.KeyValue) standing {
	if kv == nil {
		return nobodys
	}
	found, err := decode(w.service, w.id, kv.Value, len(kv.Value))
	switch {
	case err != nil:
		return nobodys
	case found.Instance == r.instance:
		return own
	case found.Owner != "" && found.Owner == set.owner:
		return earlier
	case found.Owner == "" && found.address() == w.address:
		return earlier
	}
	return foreign
}

// mayReplace decides whether the value at a key may be overwritten or removed. held
// says that etcd had our record there once: whoever replaced it is no earlier life of
// ours but a later one.
func (r *etcdRegistry) mayReplace(set *settings, w wanted, kv *mvccpb.KeyValue, held bool) error {
	switch r.judge(set, w, kv) {
	case foreign:
		found, _ := decode(w.service, w.id, kv.Value, len(kv.Value))
		owner := "nobody that it names"
		if found != nil && found.Owner != "" {
			owner = keys.Quote(found.Owner)
		}
		return fmt.Errorf("etcd: node %s of %s: %w, %s: give the node an ID of its own, or wait until the record's TTL is over, or delete the key %s", keys.Quote(w.id), keys.Quote(w.service), ErrTaken, owner, keys.Quote(w.key))
	case earlier:
		if held {
			return fmt.Errorf("etcd: node %s of %s: %w: another process of the same service has registered it since: give each process a node ID of its own", keys.Quote(w.id), keys.Quote(w.service), ErrTaken)
		}
	}
	return nil
}

// read returns what is at a key, nil if nothing, and the revision of that.
func (r *etcdRegistry) read(ctx context.Context, key string) (kv *mvccpb.KeyValue, rev int64, err error) {
	err = r.call(ctx, "read "+keys.Quote(key), func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		rev = resp.Header.Revision
		if len(resp.Kvs) > 0 {
			kv = resp.Kvs[0]
		}
		return nil
	})
	return kv, rev, err
}

// swap makes a change if the key still is as it was read. done is false if it was
// not, which may also be because an attempt whose answer was lost did it.
func (r *etcdRegistry) swap(ctx context.Context, what, key string, was *mvccpb.KeyValue, op clientv3.Op) (done bool, rev int64, err error) {
	var modified int64 // of an absent key it is 0
	if was != nil {
		modified = was.ModRevision
	}
	err = r.call(ctx, what, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", modified)).Then(op).Commit()
		if err != nil {
			return err
		}
		done, rev = resp.Succeeded, resp.Header.Revision
		return nil
	})
	return done, rev, err
}

// ensure makes etcd hold the keeper's record under its lease.
func (k *keeper) ensure(ctx context.Context) error {
	set, err := k.r.current()
	if err != nil {
		return err
	}
	what := "write " + keys.Quote(k.want.key)
	for range maxTries {
		kv, rev, err := k.r.read(ctx, k.want.key)
		if err != nil {
			return err
		}
		k.seen = rev
		if kv != nil && bytes.Equal(kv.Value, k.want.value) && clientv3.LeaseID(kv.Lease) == k.lease && (k.lease != 0) == (k.want.ttl > 0) {
			k.held = true
			return nil
		}
		if err := k.r.mayReplace(set, k.want, kv, k.held); err != nil {
			return err
		}
		if err := k.grant(ctx); err != nil {
			return err
		}
		put := clientv3.OpPut(k.want.key, string(k.want.value), clientv3.WithLease(k.lease))
		done, rev, err := k.r.swap(ctx, what, k.want.key, kv, put)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			k.dropLease()
		case err != nil:
			return err
		case done:
			k.seen, k.held = rev, true
			return nil
		}
	}
	return fmt.Errorf("etcd: %s: %w: look who else writes it", what, errContended)
}

// grant gets a lease if there must be one and is none.
func (k *keeper) grant(ctx context.Context) error {
	if k.lease != 0 || k.want.ttl == 0 {
		return nil
	}
	return k.r.call(ctx, "get a lease", func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Grant(ctx, k.want.ttl)
		if err != nil {
			return err
		}
		k.lease = resp.ID
		return nil
	})
}

// revoke ends a lease, and removes what is under it.
func (r *etcdRegistry) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	if lease == 0 {
		return nil
	}
	return r.call(ctx, "end the lease", func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Revoke(ctx, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// remove deletes a record that is ours. held says that this registry had it there.
func (r *etcdRegistry) remove(ctx context.Context, set *settings, w wanted, held bool) error {
	what := "remove " + keys.Quote(w.key)
	for range maxTries {
		kv, _, err := r.read(ctx, w.key)
		if err != nil || kv == nil {
			return err
		}
		if err := r.mayReplace(set, w, kv, held); err != nil {
			if held {
				return nil // ours is gone, and this is somebody else's
			}
			return err
		}
		done, _, err := r.swap(ctx, what, w.key, kv, clientv3.OpDelete(w.key))
		if err != nil || done {
			return err
		}
	}
	return fmt.Errorf("etcd: %s: %w: look who else writes it", what, errContended)
}
