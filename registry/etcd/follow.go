package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// follow watches a key or a range in a goroutine, because beginning to watch blocks
// until etcd answers. The channel is closed when the watch ends, after a response
// that says why if there was one.
func (r *etcdRegistry) follow(ctx context.Context, c *clientv3.Client, key string, opts ...clientv3.OpOption) <-chan clientv3.WatchResponse {
	out := make(chan clientv3.WatchResponse)
	r.wg.Go(func() {
		defer close(out)
		ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		defer cancel()
		for resp := range c.Watch(ctx, key, opts...) {
			select {
			case out <- resp:
			case <-ctx.Done():
				return
			}
		}
	})
	return out
}
