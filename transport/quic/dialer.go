package quic

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-signet/signet/internal/udp"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/logger"
)

const (
	logWarn  = logger.WarnLevel
	logError = logger.ErrorLevel

	// maxConnsPerAddr bounds the connections to one address. A second one is
	// opened only when the first is at the server's limit of streams.
	maxConnsPerAddr = 8

	// maxDials bounds how often one call waits for a new connection. More than
	// one is needed only if a connection ends, or others fill it, before it can be
	// used.
	maxDials = maxConnsPerAddr + 2

	// maxGone bounds how often one call takes a connection that the server ends
	// before it can be used, as one does that is shutting down.
	maxGone = 2

	// Pauses after a failed dial, doubling; calls meanwhile wait and share the
	// next attempt.
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second

	// maxFailures bounds the addresses whose failures are remembered.
	maxFailures = 1024
)

// dialer keeps the connections that one configuration has opened: normally one
// to each address, shared by all sockets to it.
type dialer struct {
	set    *settings
	pc     net.PacketConn
	qt     *quicgo.Transport
	conf   *quicgo.Config
	cancel func() // of the watch over the identity

	mu       sync.Mutex
	conns    map[string][]*clientConn // usable ones, by dialled address
	live     map[*clientConn]struct{} // all that are not closed yet
	calls    map[string]*dialCall
	failures map[string]failure
	closed   bool
	retired  bool
	closing  sync.Once
}

// dialCall is a dial that several may wait for.
type dialCall struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int // guarded by dialer.mu
	err     error
}

type failure struct {
	until time.Time
	pause time.Duration
}

func newDialer(set *settings) (*dialer, error) {
	pc := set.dialFrom
	if pc == nil {
		var err error
		if pc, err = udp.ListenPlain("udp", ":0"); err != nil {
			return nil, fmt.Errorf("quic: opening a UDP socket to dial from: %w", err)
		}
	}
	if set.offload {
		pc = udp.Wrap(pc)
	}
	d := &dialer{
		set:      set,
		pc:       pc,
		qt:       &quicgo.Transport{Conn: pc},
		conf:     clientQUICConfig(set),
		conns:    map[string][]*clientConn{},
		live:     map[*clientConn]struct{}{},
		calls:    map[string]*dialCall{},
		failures: map[string]failure{},
	}
	d.cancel = set.creds.onChange(d.recheck)
	return d, nil
}

// acquire returns a connection to addr, an existing one if there is.
func (d *dialer) acquire(ctx context.Context, addr string) (*clientConn, error) {
	c, _, err := d.pick(ctx, addr, false)
	return c, err
}

// openStream opens a stream to addr: on an existing connection, on a further
// one where those are at the server's limit, or when one of them has room again.
func (d *dialer) openStream(ctx context.Context, addr string) (*clientConn, *quicgo.Stream, error) {
	return d.pick(ctx, addr, true)
}

func (d *dialer) pick(ctx context.Context, addr string, stream bool) (*clientConn, *quicgo.Stream, error) {
	gone, generation := 0, d.set.creds.generation()
	for dials := 0; ; dials++ {
		conns, err := d.usable(addr)
		if err != nil {
			return nil, nil, err
		}
		now := d.set.creds.generation()
		if dials > 0 && len(conns) == 0 && now == generation { // else it was we who gave it up
			gone++
		}
		generation = now
		for _, c := range conns {
			if !stream {
				return c, nil, nil
			}
			if qs, err := c.q.OpenStream(); err == nil {
				return c, qs, nil
			}
		}
		if len(conns) >= maxConnsPerAddr {
			c := conns[0]
			qs, err := c.q.OpenStreamSync(ctx)
			if err != nil && ctx.Err() != nil {
				return nil, nil, fmt.Errorf("quic: %s is at its limit of sockets and none became free: %w", addr, ctx.Err())
			}
			if err == nil {
				return c, qs, nil
			}
			continue
		}
		if dials == maxDials || gone == maxGone {
			return nil, nil, fmt.Errorf("quic: %w: %s accepts connections and takes no calls on them: it is shutting down", ErrUnreachable, addr)
		}
		if err := d.wait(ctx, addr); err != nil {
			return nil, nil, err
		}
	}
}

// usable returns the connections to addr that a new socket may use.
func (d *dialer) usable(addr string) ([]*clientConn, error) {
	generation := d.set.creds.generation()
	var old, conns []*clientConn
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, fmt.Errorf("quic: transport %w", ErrClosed)
	}
	for _, c := range d.conns[addr] {
		switch {
		case c.generation != generation, d.allowedAt(addr, c.proved.peer.ID) != nil:
			old = append(old, c)
		case c.usable():
			conns = append(conns, c)
		}
	}
	d.mu.Unlock()
	for _, c := range old {
		c.drain()
	}
	return conns, nil
}

// allowedAt checks a peer against the identity's peer directory.
func (d *dialer) allowedAt(addr, peerID string) error {
	ids, known := d.set.creds.bound(addr)
	switch {
	case known && !slices.Contains(ids, peerID):
		return fmt.Errorf("quic: %w: %s answers at %s, where the registry says %s", ErrWrongPeer, peerID, addr, strings.Join(ids, " or "))
	case !known && d.set.requireKnown:
		return fmt.Errorf("quic: %w: no verified registration binds %s to a peer, and RequireKnown is set", ErrWrongPeer, addr)
	}
	return nil
}

// wait takes part in dialling addr.
func (d *dialer) wait(ctx context.Context, addr string) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return fmt.Errorf("quic: transport %w", ErrClosed)
	}
	call := d.calls[addr]
	if call == nil {
		dialCtx, cancel := context.WithCancel(context.Background())
		call = &dialCall{done: make(chan struct{}), cancel: cancel}
		d.calls[addr] = call
		go d.run(dialCtx, addr, call, d.failures[addr])
	}
	call.waiters++
	d.mu.Unlock()

	select {
	case <-call.done:
		return call.err
	case <-ctx.Done():
	}
	d.mu.Lock()
	if call.waiters--; call.waiters == 0 {
		call.cancel()
		d.over(addr, call) // nobody is to join it now
	}
	d.mu.Unlock()
	return explainDial(addr, ctx.Err())
}

// run dials addr for all who wait.
func (d *dialer) run(ctx context.Context, addr string, call *dialCall, last failure) {
	defer call.cancel()
	var c *clientConn
	err := sleepUntil(ctx, last.until)
	if err == nil {
		c, err = d.dial(ctx, addr)
	}
	generation := d.set.creds.generation()
	d.mu.Lock()
	d.over(addr, call)
	switch {
	case d.closed:
		err = fmt.Errorf("quic: transport %w", ErrClosed)
	case err == nil && c.usable():
		delete(d.failures, addr)
		d.conns[addr] = append(d.conns[addr], c)
	case err == nil && c.generation != generation:
		// Our certificate was renewed meanwhile: those who wait dial again.
	case err == nil:
		// Its end may have come before it was on the list, from which nobody
		// would take it then; and dialling again at once could go on for ever.
		err = c.explain(fmt.Errorf("%w: it takes no more calls: it is shutting down", ErrUnreachable))
		d.remember(addr, last)
	case ctx.Err() == nil:
		d.remember(addr, last)
	}
	if err != nil && c != nil {
		defer c.closeWith(codeDone, "")
	}
	call.err = err
	d.mu.Unlock()
	close(call.done)
}

// over takes call from those that can be joined. The caller holds d.mu.
func (d *dialer) over(addr string, call *dialCall) {
	if d.calls[addr] == call {
		delete(d.calls, addr)
	}
}

// remember notes a failed dial. The caller holds d.mu.
func (d *dialer) remember(addr string, last failure) {
	now := time.Now()
	if len(d.failures) >= maxFailures {
		for a, f := range d.failures {
			if now.After(f.until) {
				delete(d.failures, a)
			}
		}
	}
	if len(d.failures) >= maxFailures {
		return
	}
	pause := min(max(2*last.pause, minBackoff), maxBackoff)
	if now.Sub(last.until) > 10*maxBackoff {
		pause = minBackoff
	}
	d.failures[addr] = failure{until: now.Add(pause), pause: pause}
}

func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove takes c from the connections that new sockets use.
func (d *dialer) remove(c *clientConn) {
	dead := !c.alive()
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := slices.DeleteFunc(d.conns[c.addr], func(x *clientConn) bool { return x == c })
	if len(rest) == 0 {
		delete(d.conns, c.addr)
	} else {
		d.conns[c.addr] = rest
	}
	if dead {
		delete(d.live, c)
	}
	if d.retired && len(d.live) == 0 && !d.closed {
		go d.close()
	}
}

// recheck judges all connections anew.
func (d *dialer) recheck() {
	for _, c := range d.all() {
		c.recheck()
	}
}

func (d *dialer) all() []*clientConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*clientConn, 0, len(d.live))
	for c := range d.live {
		all = append(all, c)
	}
	return all
}

// retire ends the dialer once the calls that it carries are over.
func (d *dialer) retire() {
	d.mu.Lock()
	d.retired = true
	none := len(d.live) == 0
	d.mu.Unlock()
	if none {
		go d.close()
		return
	}
	for _, c := range d.all() {
		c.drain()
	}
}

// close ends all connections now. Whoever calls it again waits for the first.
func (d *dialer) close() {
	d.closing.Do(func() {
		d.mu.Lock()
		d.closed = true
		for _, call := range d.calls {
			call.cancel()
		}
		d.mu.Unlock()

		d.cancel()
		var wg sync.WaitGroup
		for _, c := range d.all() {
			wg.Go(func() { c.closeWith(codeDone, "") })
		}
		wg.Wait()
		_ = d.qt.Close()
		_ = d.pc.Close()
	})
}

func (d *dialer) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}
