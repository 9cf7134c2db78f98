package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpccreds "google.golang.org/grpc/credentials"
)

const (
	// maxMessage bounds what one message from etcd may have.
	maxMessage = 16 << 20
	// pingEvery and pingTimeout find out that a connection is dead; etcd allows a
	// ping each five seconds.
	pingEvery   = 10 * time.Second
	pingTimeout = 5 * time.Second

	firstDelay = 50 * time.Millisecond
	maxDelay   = 5 * time.Second
)

// link is a client of etcd in the making, or made.
type link struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once client and err are set
	client *clientv3.Client
	err    error
}

// connect returns the client, and makes it if there is none. With an account that
// asks etcd for a token, which is why it has a context.
func (r *etcdRegistry) connect(ctx context.Context) (*clientv3.Client, error) {
	r.mu.Lock()
	s, err := r.currentLocked()
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if r.link == nil {
		r.link = r.dial(s)
	}
	l := r.link
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.client, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial begins to make a client. r.mu is held.
func (r *etcdRegistry) dial(s *settings) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{cancel: cancel, done: make(chan struct{})}
	r.wg.Go(func() {
		defer close(l.done)
		var reason error
		if l.client, l.err = newClient(context.WithValue(ctx, reasonKey{}, &reason), s); l.err == nil {
			return
		}
		l.err = because(l.err, reason)
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.link == l {
			r.link = nil // the next call tries again
		}
	})
	return l
}

func (l *link) close() {
	l.cancel()
	<-l.done
	if l.client != nil {
		_ = l.client.Close()
	}
}

func newClient(ctx context.Context, s *settings) (*clientv3.Client, error) {
	conf := clientv3.Config{
		Endpoints:            s.endpoints,
		Username:             s.auth.user,
		Password:             s.auth.password,
		DialTimeout:          s.timeout / 4, // of a request for a token
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		MaxCallSendMsgSize:   min(s.limits.Record+1<<20, maxMessage),
		MaxCallRecvMsgSize:   maxMessage,
		Context:              ctx,
		Logger:               zap.NewNop(), // whatever matters is in the errors
		DialOptions:          []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
	}
	if s.tls != nil {
		conf.TLS = s.tls
		if s.server != "" {
			conf.DialOptions = append(conf.DialOptions, grpc.WithTransportCredentials(named{grpccreds.NewTLS(s.tls), s.server}))
		}
	}
	return clientv3.New(conf)
}

// reasonKey is the context's key of a *error: why a request found no server.
type reasonKey struct{}

// failFast finds out why there is no connection, where etcd's client would wait for
// one, or try again and again, and then report only that the time is up.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
	if reason, ok := ctx.Value(reasonKey{}).(*error); ok && unavailable(err) {
		*reason = err
	}
	return err
}

// because returns the reason that was found for an error that says only that the time
// was up.
func because(err, reason error) error {
	if reason != nil && errors.Is(err, context.DeadlineExceeded) {
		return reason
	}
	return err
}

// within bounds a call by the timeout, and by the caller's context if there is one.
func (s *settings) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, s.timeout)
}

// call makes a request until it succeeds, fails for good, or ctx ends. An attempt has
// a third of the timeout, so that one dead server cannot use up all of it. f must be
// safe to repeat when it is not known whether it took effect.
func (r *etcdRegistry) call(ctx context.Context, what string, f func(context.Context, *clientv3.Client) error) error {
	s, err := r.current()
	if err != nil {
		return err
	}
	var delay backoff
	var last error
	for {
		var reason error
		attempt, cancel := context.WithTimeout(context.WithValue(ctx, reasonKey{}, &reason), max(s.timeout/3, 100*time.Millisecond))
		var c *clientv3.Client
		if c, err = r.connect(attempt); err == nil {
			err = f(attempt, c)
		}
		expired := attempt.Err() != nil
		cancel()
		if err == nil {
			return nil
		}
		if why := because(err, reason); last == nil || !errors.Is(why, context.DeadlineExceeded) {
			last = why
		}
		if ctx.Err() != nil {
			return s.explain(what, ctx.Err(), last)
		}
		if !transient(err, expired) || ours(err) {
			return s.explain(what, err, nil)
		}
		if !delay.wait(ctx) {
			return s.explain(what, ctx.Err(), last)
		}
	}
}

// backoff is a delay that doubles from one wait to the next, with jitter.
type backoff struct{ attempts int }

// next returns the next delay: between half and all of 50 ms, 100 ms, … 5 s.
func (b *backoff) next() time.Duration {
	d := min(firstDelay<<min(b.attempts, 10), maxDelay)
	b.attempts++
	return d/2 + rand.N(d/2)
}

// wait waits for the next delay; it returns false if ctx ended before that.
func (b *backoff) wait(ctx context.Context) bool {
	timer := time.NewTimer(b.next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
