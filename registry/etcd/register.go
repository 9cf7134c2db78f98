package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Register writes a record for each node, and looks after it until Deregister or
// Close. Called again it replaces the record; if nothing changed and the record is in
// order it does not ask etcd. The TTL is rounded up to a second; without one there is
// no lease, and the record outlives the process.
//
// If etcd cannot be reached, the first Register of a node leaves nothing behind; a
// later one returns the error, and the record is written when etcd is back. The error
// is ErrTaken if the record is somebody else's.
func (r *etcdRegistry) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	var o registry.RegisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	set, err := r.current()
	if err != nil {
		return err
	}
	if o.TTL < 0 {
		return fmt.Errorf("etcd: %w: a TTL of %v: give a positive one, or none", ErrInvalid, o.TTL)
	}
	nodes, err := nodesOf(s)
	if err != nil {
		return err
	}
	ctx, cancel := set.within(o.Context)
	defer cancel()
	var errs []error
	for _, node := range nodes {
		value, err := encode(s, node, set.owner, r.instance, set.limits.Record)
		if err == nil {
			err = r.keep(ctx, set, wanted{
				key: nodeKey(set.prefix, s.Name, node.Id), service: s.Name, id: node.Id,
				address: node.Address, value: value, ttl: seconds(o.TTL),
			})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// nodesOf returns the nodes of a service that can be registered.
func nodesOf(s *registry.Service) ([]*registry.Node, error) {
	if s == nil {
		return nil, fmt.Errorf("etcd: %w: the service is nil: pass one", ErrInvalid)
	}
	if err := checkName("name of the service", s.Name); err != nil {
		return nil, err
	}
	nodes := withoutNil(s.Nodes)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("etcd: %w: %s has no nodes: give it at least one", ErrInvalid, keys.Quote(s.Name))
	}
	for _, n := range nodes {
		if err := checkName("ID of a node", n.Id); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// seconds rounds a TTL up to what etcd counts in.
func seconds(ttl time.Duration) int64 {
	return min(int64(math.Ceil(ttl.Seconds())), clientv3.MaxLeaseTTL)
}

// keep hands a record to the keeper of its key.
func (r *etcdRegistry) keep(ctx context.Context, set *settings, w wanted) error {
	req := request{ctx: ctx, want: w, reply: make(chan error, 1)}
	for {
		k, err := r.keeper(w.key)
		if err != nil {
			return err
		}
		select {
		case k.requests <- req:
		case <-k.done:
			if k.failed {
				continue // another Register was its first, and got nowhere
			}
			return r.ended(w)
		case <-ctx.Done():
			return set.explain("register "+keys.Quote(w.id), ctx.Err(), nil)
		}
		select {
		case err := <-req.reply:
			return err
		case <-k.done:
		}
		select {
		case err := <-req.reply:
			return err
		default:
			return r.ended(w)
		}
	}
}

// ended is the error of a Register that Deregister or Close overtook.
func (r *etcdRegistry) ended(w wanted) error {
	if _, err := r.current(); err != nil {
		return err
	}
	return fmt.Errorf("etcd: register %s: %w: register it again", keys.Quote(w.id), errDeregistered)
}

// keeper returns the keeper of a key, and starts it if there is none.
func (r *etcdRegistry) keeper(key string) (*keeper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	k := r.keepers[key]
	if k == nil {
		k = newKeeper(r)
		r.keepers[key] = k
		r.wg.Go(func() { k.run(key) })
	}
	return k, nil
}

// release takes the keeper out of the registry; k is nil for whichever there is.
func (r *etcdRegistry) release(key string, k *keeper) *keeper {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.keepers[key]
	if k == nil || k == have {
		delete(r.keepers, key)
	}
	return have
}

// Deregister removes the records of the nodes, and their leases. A record that is
// not there, or that a newer process has taken over, is no error. One that this
// registry has never registered is removed if it is our owner's, else the error is
// ErrTaken. If etcd cannot be reached the record lapses with its TTL: nothing renews
// it any more.
func (r *etcdRegistry) Deregister(s *registry.Service, opts ...registry.DeregisterOption) error {
	var o registry.DeregisterOptions
	for _, opt := range opts {
		opt(&o)
	}
	nodes, err := nodesOf(s)
	if err != nil {
		return err
	}
	set, err := r.current()
	if err != nil {
		return err
	}
	ctx, cancel := set.within(o.Context)
	defer cancel()
	var errs []error
	for _, node := range nodes {
		w := wanted{key: nodeKey(set.prefix, s.Name, node.Id), service: s.Name, id: node.Id, address: node.Address}
		errs = append(errs, r.deregister(ctx, set, w))
	}
	return errors.Join(errs...)
}

func (r *etcdRegistry) deregister(ctx context.Context, set *settings, w wanted) error {
	k := r.release(w.key, nil)
	if k == nil {
		return r.remove(ctx, set, w, false)
	}
	k.cancel()
	<-k.done
	err := r.remove(ctx, set, w, k.held)
	// The lease goes last: a write of the keeper that etcd had not yet made, and
	// makes after the removal, goes with it.
	if revoked := r.revoke(ctx, k.lease); revoked != nil && err == nil {
		return revoked
	}
	return err
}
