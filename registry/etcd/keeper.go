package etcd

import (
	"context"
	"errors"
	"time"

	"github.com/go-signet/signet/internal/keys"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// calm is how long nothing must have needed repair for the next repair to be quick.
const calm = 30 * time.Second

// request is a Register that waits for its keeper.
type request struct {
	ctx   context.Context
	want  wanted
	reply chan error // with room for one
}

// keeper sees to it that etcd has one record. All it does, it does in one goroutine,
// so that a repair never crosses a Register; and once that has ended, nothing is
// written any more.
type keeper struct {
	r        *etcdRegistry
	ctx      context.Context
	cancel   context.CancelFunc
	requests chan request
	done     chan struct{} // closed at the end; what is below may be read from then on

	want   wanted
	lease  clientv3.LeaseID // 0 if there is none
	seen   int64            // the revision up to which the key is known
	held   bool             // etcd had our record at some time
	failed bool             // the first Register got nowhere
	broken bool             // the record is not as it should be, as far as we know

	alive  <-chan *clientv3.LeaseKeepAliveResponse // nil while no lease is kept alive
	rest   context.CancelFunc                      // ends that
	events <-chan clientv3.WatchResponse           // nil while the key is not watched

	repair   *time.Timer
	delay    backoff
	repaired time.Time
}

func newKeeper(r *etcdRegistry) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{r: r, ctx: ctx, cancel: cancel, requests: make(chan request), done: make(chan struct{})}
	k.repair = time.NewTimer(time.Hour)
	k.repair.Stop()
	return k
}

func (k *keeper) run(key string) {
	defer close(k.done)
	defer k.cancel()
	defer k.repair.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case req := <-k.requests:
			err := k.register(req)
			if !k.held && err != nil {
				k.failed = k.ctx.Err() == nil
				k.r.release(key, k)
				req.reply <- err
				k.abandon()
				return
			}
			req.reply <- err
		case _, ok := <-k.alive:
			if !ok {
				k.dropLease()
				k.schedule("its lease is lost")
			}
		case resp, ok := <-k.events:
			k.observe(resp, ok)
		case <-k.repair.C:
			k.mend()
		}
	}
}

// register is a Register of the user's.
func (k *keeper) register(req request) error {
	same := string(k.want.value) == string(req.want.value) && k.want.ttl == req.want.ttl
	if same && k.held && !k.broken {
		return nil
	}
	old := k.lease
	if k.want.ttl != req.want.ttl {
		k.dropLease()
	}
	k.want = req.want
	ctx, cancel := context.WithCancel(req.ctx)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	if err := k.ensure(ctx); err != nil {
		if k.ctx.Err() != nil {
			return k.r.ended(k.want)
		}
		if k.held {
			k.broken = true
			k.failedTo(err)
		}
		return err
	}
	if old != 0 && old != k.lease {
		_ = k.r.revoke(ctx, old) // it has nothing under it, and lapses if this fails
	}
	k.settled()
	return nil
}

// mend writes the record anew after it was found broken.
func (k *keeper) mend() {
	set, err := k.r.current()
	if err != nil {
		k.failedTo(err) // an Init that was refused: another may be better
		return
	}
	ctx, cancel := set.within(k.ctx)
	defer cancel()
	if err := k.ensure(ctx); err != nil {
		if k.ctx.Err() == nil {
			set.log.Warnf("etcd: node %s of %s is not registered as it should be: %v", keys.Quote(k.want.id), keys.Quote(k.want.service), err)
			k.failedTo(err)
		}
		return
	}
	set.log.Infof("etcd: node %s of %s is registered as it should be again", keys.Quote(k.want.id), keys.Quote(k.want.service))
	k.settled()
}

// settled is after the record was written: it is looked after from here on.
func (k *keeper) settled() {
	k.broken = false
	k.repaired = time.Now()
	k.repair.Stop()
	k.guard()
}

// failedTo is after it could not be written. A record that somebody else has is
// watched until that one is gone; everything else is tried again.
func (k *keeper) failedTo(err error) {
	if errors.Is(err, ErrTaken) {
		k.guard()
		return
	}
	k.repair.Reset(k.delay.next())
}

// schedule has the record mended soon, and ever later if that is needed often.
func (k *keeper) schedule(why string) {
	if set, err := k.r.current(); err == nil {
		set.log.Warnf("etcd: node %s of %s: %s: registering it again", keys.Quote(k.want.id), keys.Quote(k.want.service), why)
	}
	if !k.broken && time.Since(k.repaired) > calm {
		k.delay = backoff{}
	}
	k.broken = true
	k.repair.Reset(k.delay.next())
}

// guard keeps the lease alive and watches the key, if that is not done already.
func (k *keeper) guard() {
	c, err := k.r.connect(k.ctx)
	if err != nil {
		k.schedule("the client is gone")
		return
	}
	if k.lease != 0 && k.alive == nil {
		ctx, cancel := context.WithCancel(k.ctx)
		// If it fails the channel is closed, which is what the loop waits for.
		k.alive, _ = c.KeepAlive(ctx, k.lease)
		k.rest = cancel
	}
	if k.events == nil {
		k.events = k.r.follow(k.ctx, c, k.want.key, k.seen)
	}
}

// dropLease forgets the lease. A new one is granted for the next write.
func (k *keeper) dropLease() {
	if k.rest != nil {
		k.rest()
	}
	k.lease, k.alive, k.rest = 0, nil, nil
}

// observe looks at what happened to the key.
func (k *keeper) observe(resp clientv3.WatchResponse, ok bool) {
	if !ok || resp.Err() != nil {
		k.events = nil
		k.schedule("the watch of its record ended")
		return
	}
	var last *clientv3.Event
	for _, e := range resp.Events {
		if e.Kv.ModRevision > k.seen {
			k.seen, last = e.Kv.ModRevision, e
		}
	}
	switch {
	case last == nil:
	case last.Type == clientv3.EventTypeDelete:
		k.schedule("its record was deleted")
	case string(last.Kv.Value) != string(k.want.value):
		k.schedule("its record was overwritten")
	case clientv3.LeaseID(last.Kv.Lease) != k.lease:
		k.schedule("its record was put under another lease")
	}
}

// abandon ends the lease of a first Register that failed, in case its record was
// written all the same.
func (k *keeper) abandon() {
	set, err := k.r.current()
	if err != nil || k.lease == 0 {
		return
	}
	ctx, cancel := set.within(k.ctx)
	defer cancel()
	_ = k.r.revoke(ctx, k.lease)
}
