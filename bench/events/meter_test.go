package events

import (
	"fmt"
	"sync/atomic"
	"time"
)

// stall is how long nothing may be delivered: what is lost fails the benchmark.
const stall = 20 * time.Second

// meter counts what is delivered of what one goroutine publishes, and keeps a number of
// messages in flight.
type meter struct {
	size      int // of each body
	stall     time.Duration
	delivered atomic.Int64
	awaited   atomic.Int64
	arrived   chan struct{}
	failed    chan error
	sent      int64
}

func newMeter(size int) *meter {
	return &meter{size: size, stall: stall, arrived: make(chan struct{}, 1), failed: make(chan error, 1)}
}

// fail ends the run. The first error counts.
func (m *meter) fail(err error) {
	select {
	case m.failed <- err:
	default:
	}
}

// deliver is what every handler does with a body.
func (m *meter) deliver(body []byte) {
	if len(body) != m.size {
		m.fail(fmt.Errorf("%d bytes were delivered, want %d", len(body), m.size))
	}
	if m.delivered.Add(1) == m.awaited.Load() {
		select {
		case m.arrived <- struct{}{}:
		default:
		}
	}
}

// run publishes n messages and waits until all are delivered. At most window are in
// flight: half of them are sent while the other half arrives.
func (m *meter) run(n, window int, publish func() error) error {
	timer := time.NewTimer(m.stall)
	defer timer.Stop()
	chunk := max(1, window/2)
	for begun := 0; begun < n; begun += chunk {
		for range min(chunk, n-begun) {
			if err := publish(); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			m.sent++
		}
		if err := m.await(m.sent-int64(window-chunk), timer); err != nil {
			return err
		}
	}
	if err := m.await(m.sent, timer); err != nil {
		return err
	}
	if got := m.delivered.Load(); got != m.sent {
		return fmt.Errorf("%d messages were delivered, want %d", got, m.sent)
	}
	return nil
}

// await waits until so many messages have been delivered since the meter was made.
func (m *meter) await(count int64, timer *time.Timer) error {
	m.awaited.Store(count)
	timer.Reset(m.stall)
	for m.delivered.Load() < count {
		select {
		case <-m.arrived:
		case err := <-m.failed:
			return err
		case <-timer.C:
			return fmt.Errorf("%d messages were delivered, want %d", m.delivered.Load(), count)
		}
	}
	select {
	case err := <-m.failed:
		return err
	default:
		return nil
	}
}
