package etcd

import (
	"context"
	"crypto/rand"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

// streamKey is the name of a header that no server looks at.
const streamKey = "signet-watch"

// quiet is how long nothing must have come for a watch to look where etcd is.
const quiet = 30 * time.Second

// follow watches a key or a range for what comes after the revision seen, in a
// goroutine, because beginning to watch blocks until etcd answers. The channel is
// closed when the watch ends, after a response that says why if there was one.
func (r *etcdRegistry) follow(ctx context.Context, c *clientv3.Client, key string, seen int64, opts ...clientv3.OpOption) <-chan clientv3.WatchResponse {
	out := make(chan clientv3.WatchResponse)
	ctx = clientv3.WithRequireLeader(ctx)
	if c.Username != "" {
		// Watches with the same headers share a stream, and the token that it began
		// with. After that has ended etcd refuses every further watch on it.
		ctx = metadata.AppendToOutgoingContext(ctx, streamKey, rand.Text())
	}
	opts = append(opts, clientv3.WithRev(seen+1))
	r.wg.Go(func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		changes := c.Watch(ctx, key, opts...)
		look := time.NewTimer(quiet)
		defer look.Stop()
		for {
			select {
			case resp, ok := <-changes:
				if !ok {
					return
				}
				for _, e := range resp.Events {
					seen = e.Kv.ModRevision
				}
				select {
				case out <- resp:
				case <-ctx.Done():
					return
				}
			case <-look.C:
				if wentBack(ctx, c, key, seen) {
					return
				}
			}
			look.Reset(quiet)
		}
	})
	return out
}

// wentBack reports whether etcd is before a revision that it had: it lost its data, or
// was restored. A watch hears nothing of that, nor of any change until the revision
// has come again.
func wentBack(ctx context.Context, c *clientv3.Client, key string, seen int64) bool {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	resp, err := c.Get(ctx, key, clientv3.WithCountOnly())
	return err == nil && resp.Header.Revision < seen
}
