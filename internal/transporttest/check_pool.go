package transporttest

import (
	"errors"
	"fmt"
	"time"

	"go-micro.dev/v4/transport"
	"go-micro.dev/v4/util/pool"
)

func poolChecks() []check {
	return []check{
		{name: "pool/reuse by address", run: poolReuse},
		{name: "pool/reuse by host name", needs: PooledByName, run: poolReuseByName},
		{name: "pool/size nought keeps none", run: poolOfNone},
		{name: "pool/two at once are two", run: poolOfTwo},
		{name: "pool/failed connection is not reused", run: poolDropsFailed},
		{name: "pool/expired connection is replaced", run: poolExpires},
		{name: "pool/close after the server left", run: poolClose},
	}
}

func (e *env) pool(size int, ttl time.Duration) pool.Pool {
	p := pool.NewPool(pool.Transport(e.tr), pool.Size(size), pool.TTL(ttl))
	e.Cleanup(func() { _ = e.finish("Close of the pool", p.Close) })
	return p
}

// get takes a connection from the pool and proves that it works.
func (e *env) get(p pool.Pool, addr string) (pool.Conn, error) {
	c, err := p.Get(addr, transport.WithStream())
	if err != nil {
		return nil, fmt.Errorf("Get(%q): %w", addr, err)
	}
	return c, e.echoed(c, message(c.Id()))
}

// connections makes calls one after the other and counts the connections.
func (e *env) connections(p pool.Pool, addr string, calls int) (int, error) {
	ids := make(map[string]bool)
	for range calls {
		c, err := e.get(p, addr)
		if err != nil {
			return 0, err
		}
		ids[c.Id()] = true
		if err := p.Release(c, nil); err != nil {
			return 0, fmt.Errorf("Release: %w", err)
		}
	}
	return len(ids), nil
}

func poolReuse(e *env) error {
	return e.oneConnection(e.serve(anyPort, echo).Addr())
}

func poolReuseByName(e *env) error {
	return e.oneConnection(byName(e.serve(anyPort, echo)))
}

func (e *env) oneConnection(addr string) error {
	n, err := e.connections(e.pool(2, time.Minute), addr, 10)
	if err == nil && n != 1 {
		err = fmt.Errorf("10 calls to %s took %d connections, want 1", addr, n)
	}
	return err
}

func poolOfNone(e *env) error {
	n, err := e.connections(e.pool(0, time.Minute), e.serve(anyPort, echo).Addr(), 10)
	if err == nil && n != 10 {
		err = fmt.Errorf("10 calls without a pool took %d connections, want 10", n)
	}
	return err
}

func poolOfTwo(e *env) error {
	p, addr := e.pool(2, time.Minute), e.serve(anyPort, echo).Addr()
	a, err := e.get(p, addr)
	if err != nil {
		return err
	}
	b, err := e.get(p, addr)
	if err != nil {
		return err
	}
	if a.Id() == b.Id() {
		return errors.New("one connection was given out twice")
	}
	if err := errors.Join(p.Release(a, nil), p.Release(b, nil)); err != nil {
		return fmt.Errorf("Release: %w", err)
	}
	if _, err = e.get(p, addr); err != nil {
		return err
	}
	_, err = e.get(p, addr)
	return err
}

func poolDropsFailed(e *env) error {
	p, addr := e.pool(2, time.Minute), e.serve(anyPort, echo).Addr()
	a, err := e.get(p, addr)
	if err != nil {
		return err
	}
	if err := p.Release(a, errors.New("the call failed")); err != nil {
		return fmt.Errorf("Release of a failed connection: %w", err)
	}
	b, err := e.get(p, addr)
	if err == nil && a.Id() == b.Id() {
		err = errors.New("a failed connection was given out again")
	}
	return err
}

// poolExpires: Get closes a connection that is too old, and fails if Close
// does, although it is about to open another.
func poolExpires(e *env) error {
	p, s := e.pool(2, time.Nanosecond), e.serve(anyPort, echo)
	a, err := e.get(p, s.Addr())
	if err != nil {
		return err
	}
	if err := p.Release(a, nil); err != nil {
		return fmt.Errorf("Release: %w", err)
	}
	b, err := e.get(p, s.Addr())
	if err != nil {
		return err
	}
	if a.Id() == b.Id() {
		return errors.New("an expired connection was given out again")
	}
	return p.Release(b, nil)
}

// poolClose: client.Init fails where closing the pool does.
func poolClose(e *env) error {
	p, s := e.pool(2, time.Minute), e.serve(anyPort, echo)
	c, err := e.get(p, s.Addr())
	if err != nil {
		return err
	}
	if err := p.Release(c, nil); err != nil {
		return fmt.Errorf("Release: %w", err)
	}
	_ = e.within("Close of the listener", s.Close)
	if err := e.within("Close of the pool", p.Close); err != nil {
		return fmt.Errorf("Close of the pool: %w", err)
	}
	return nil
}
