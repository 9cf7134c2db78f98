package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/logger"
)

const (
	firstDelay = 50 * time.Millisecond
	maxDelay   = 5 * time.Second
	// sendTimeout is how long Disconnect waits for what was published to be sent.
	sendTimeout = 2 * time.Second
)

// link is one connection of nats.go's, which reconnects by itself.
type link struct {
	b        *natsBroker
	settings *settings
	nc       *natsgo.Conn
	made     atomic.Pointer[natsgo.Conn] // nc, for callbacks that may come before it is set
	js       jetstream.JetStream         // nil for core NATS
	draining atomic.Bool
	ended    chan struct{}                       // closed by close
	closed   chan struct{}                       // closed when nats.go has given up, or was told to
	retired  sync.WaitGroup                      // no more is added once last is set
	cancel   func()                              // of identity.OnChange
	shown    atomic.Pointer[tls.ConnectionState] // at the last good handshake; nil without an identity

	mu         sync.Mutex
	last       bool
	listeners  map[*natsgo.Subscription]*listener
	confirming map[violation]int
	denied     map[violation]error
	storing    map[*pending]struct{}
	latest     error         // the last error that nats.go has handed us
	changed    chan struct{} // closed and replaced then
	verdict    *time.Timer   // at the end of the server's certificate
}

// dial connects to the first server that answers, and tries each once.
func dial(b *natsBroker, s *settings) (*link, error) {
	l := &link{
		b: b, settings: s, ended: make(chan struct{}), closed: make(chan struct{}), cancel: func() {},
		listeners: map[*natsgo.Subscription]*listener{}, confirming: map[violation]int{}, denied: map[violation]error{},
		storing: map[*pending]struct{}{},
		changed: make(chan struct{}),
	}
	o := s.nats
	if s.id != nil {
		o.TLSConfig = l.watching(o.TLSConfig)
	}
	o.NoCallbacksAfterClientClose = false
	o.AsyncErrorCB = func(nc *natsgo.Conn, sub *natsgo.Subscription, err error) {
		l.asyncError(sub, err)
		if s.nats.AsyncErrorCB != nil {
			s.nats.AsyncErrorCB(nc, sub, err)
		}
	}
	o.DisconnectedErrCB = func(nc *natsgo.Conn, err error) {
		if !l.over() {
			b.report.incident(Incident{Kind: Disconnected, Err: err})
		}
		if s.nats.DisconnectedErrCB != nil {
			s.nats.DisconnectedErrCB(nc, err)
		}
	}
	o.ReconnectedCB = func(nc *natsgo.Conn) {
		b.report.reconnects.Add(1)
		b.report.incident(Incident{Kind: Reconnected})
		l.judge(nc)
		if s.nats.ReconnectedCB != nil {
			s.nats.ReconnectedCB(nc)
		}
	}
	o.ConnectedCB = func(nc *natsgo.Conn) {
		l.judge(nc) // with RetryOnFailedConnect, begin was too early for it
		if s.nats.ConnectedCB != nil {
			s.nats.ConnectedCB(nc)
		}
	}
	if o.CustomReconnectDelayCB == nil {
		o.CustomReconnectDelayCB = reconnectDelay
	}
	delay := o.CustomReconnectDelayCB
	o.CustomReconnectDelayCB = func(attempts int) time.Duration {
		// Only errors of dialing are reported; those of handshakes are kept.
		if nc := l.made.Load(); nc != nil && nc.LastError() != nil {
			b.report.logf(logger.WarnLevel, "nats: reconnect: %v", nc.LastError())
		}
		return delay(attempts)
	}
	o.ReconnectErrCB = func(nc *natsgo.Conn, err error) {
		b.report.logf(logger.WarnLevel, "nats: reconnect: %v", err)
		if s.nats.ReconnectErrCB != nil {
			s.nats.ReconnectErrCB(nc, err)
		}
	}
	o.ClosedCB = func(nc *natsgo.Conn) {
		close(l.closed)
		if s.nats.ClosedCB != nil {
			s.nats.ClosedCB(nc)
		}
	}
	nc, err := o.Connect()
	if err != nil {
		return nil, s.explain(err)
	}
	l.nc = nc
	l.made.Store(nc)
	if s.stream != nil {
		if err := l.openStream(); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// watching is a configuration whose handshakes leave what the server has shown. nats.go
// can be asked for that too, but not while it connects: it looks at itself without a lock.
func (l *link) watching(conf *tls.Config) *tls.Config {
	conf = conf.Clone()
	verify := conf.VerifyConnection
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(cs); err != nil {
			return err
		}
		l.shown.Store(&cs)
		return nil
	}
	return conf
}

// begin watches over a link that is in force.
func (l *link) begin() {
	if id := l.settings.id; id != nil {
		l.cancel = id.OnChange(func() { l.judge(l.nc) })
		l.judge(l.nc)
	}
	go l.revive()
}

// over reports whether close was called.
func (l *link) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// revive makes a new link if nats.go ends this one for good, as it does after errors of
// the server's that it does not know.
func (l *link) revive() {
	<-l.closed
	if l.over() {
		return
	}
	l.b.report.incident(Incident{Kind: Disconnected, Err: l.nc.LastError()})
	var delay backoff
	for !l.again() {
		select {
		case <-time.After(delay.next()):
		case <-l.ended:
			return
		}
	}
}

// again tries to replace a link that nats.go has ended. It reports whether nothing more
// is to be done.
func (l *link) again() bool {
	b := l.b
	b.connecting.Lock()
	defer b.connecting.Unlock()
	if l.over() {
		return true
	}
	if err := b.open(l.settings); err != nil {
		if deniesAccount(err) {
			b.report.incident(Incident{Kind: AccountDenied, Err: err})
		} else {
			b.report.logf(logger.WarnLevel, "nats: connect again: %v", err)
		}
		return false
	}
	l.close()
	b.report.reconnects.Add(1)
	b.report.incident(Incident{Kind: Reconnected})
	return true
}

// close ends the connection at once, and waits until nats.go has done its callbacks. It
// is not called twice at the same time.
func (l *link) close() {
	if l.over() {
		return
	}
	l.mu.Lock()
	close(l.ended)
	if l.verdict != nil {
		l.verdict.Stop()
	}
	l.mu.Unlock()
	l.cancel()
	l.nc.Close()
	select {
	case <-l.closed:
	case <-time.After(sendTimeout): // a callback of nats.Use takes its time
	}
}

// drain ends the subscriptions, and sends what was published.
func (l *link) drain(subs []*subscription) error {
	l.draining.Store(true)
	until := time.Now().Add(l.settings.drain)
	var all []bound
	for _, s := range subs {
		s.mu.Lock()
		if s.bound != nil {
			all = append(all, s.bound)
		}
		s.bound = nil
		s.mu.Unlock()
	}
	for _, c := range all {
		c.interrupt()
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, c.drained(until))
	}
	l.mu.Lock()
	l.last = true
	l.mu.Unlock()
	l.retired.Wait() // each of them ends within the drain timeout
	if l.nc.IsConnected() {
		if err := l.nc.FlushTimeout(sendTimeout); err != nil {
			errs = append(errs, fmt.Errorf("nats: %w: what was published last may not have been sent: %w", ErrDrain, err))
		}
	}
	return errors.Join(errs...)
}

// retire ends a subscription in the background.
func (l *link) retire(c bound) {
	l.mu.Lock()
	last := l.last
	if !last {
		l.retired.Add(1)
	}
	l.mu.Unlock()
	if last {
		c.abandon() // the link is closed at this moment
		return
	}
	c.interrupt()
	until := time.Now().Add(l.settings.drain)
	go func() {
		defer l.retired.Done()
		if err := c.drained(until); err != nil {
			l.b.report.logf(logger.WarnLevel, "%v", err)
		}
	}()
}

// judge ends the connection if the identity does not trust the server's certificate any
// more, and looks again when the certificate ends.
func (l *link) judge(nc *natsgo.Conn) {
	id := l.settings.id
	if id == nil {
		return
	}
	shown := l.shown.Load()
	if shown == nil || !nc.IsConnected() {
		return // it is down: the next handshake decides
	}
	until, err := verifyServer(id, l.settings.services, *shown)
	if err != nil {
		if l.shown.CompareAndSwap(shown, nil) { // nobody else has found so, or connected anew
			l.b.report.incident(Incident{Kind: Distrusted, Err: err})
			_ = nc.ForceReconnect()
		}
		return
	}
	l.judgeAt(until, shown, nc)
}

// judgeAt judges again when a certificate has ended, unless meanwhile another was shown.
func (l *link) judgeAt(until time.Time, shown *tls.ConnectionState, nc *natsgo.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over() || l.shown.Load() != shown {
		return
	}
	if l.verdict != nil {
		l.verdict.Stop()
	}
	l.verdict = time.AfterFunc(time.Until(until.Add(time.Second)), func() { l.judge(nc) })
}

// explain says what to do about an error of connecting.
func (s *settings) explain(err error) error {
	var hosts []string
	for _, a := range s.addrs {
		hosts = append(hosts, a.host)
	}
	at := strings.Join(hosts, ", ")
	switch {
	case ours(err):
		return err
	case errors.Is(err, natsgo.ErrSecureConnWanted):
		return fmt.Errorf("nats: %w: connect to %s: the server offers no TLS: %w: give it a certificate", ErrInsecure, at, err)
	case errors.Is(err, natsgo.ErrNoServers):
		return fmt.Errorf("nats: connect to %s: %w: check that NATS runs there", at, err)
	case errors.Is(err, natsgo.ErrTLS):
		return fmt.Errorf("nats: connect to %s: %w: check that each side trusts the other's certificate", at, err)
	case deniesAccount(err):
		return fmt.Errorf("nats: connect to %s: %w", at, accountError(err))
	}
	return fmt.Errorf("nats: connect to %s: %w", at, err)
}

// backoff is a delay that doubles from one wait to the next, with jitter.
type backoff struct{ attempts int }

// next returns the next delay: between half and all of 50 ms, 100 ms, … 5 s.
func (b *backoff) next() time.Duration {
	d := min(firstDelay<<min(b.attempts, 10), maxDelay)
	b.attempts++
	return d/2 + rand.N(d/2)
}

// reconnectDelay is the delay after all servers were tried, for nats.go.
func reconnectDelay(attempts int) time.Duration {
	b := backoff{attempts: max(attempts-1, 0)}
	return b.next()
}
