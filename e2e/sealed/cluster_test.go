package sealed_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/broker/sealed"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

// ledger is what a handler that sometimes fails has done with numbered messages.
type ledger struct {
	mu        sync.Mutex
	succeeded map[string]int
	failed    map[string]bool
	calls     int
	notify    chan struct{}
}

func newLedger() *ledger {
	return &ledger{succeeded: make(map[string]int), failed: make(map[string]bool), notify: make(chan struct{}, 1)}
}

var errNotYet = errors.New("not yet")

// handle fails on every hundredth message, the first time.
func (l *ledger) handle(e broker.Event) error {
	body := string(e.Message().Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.calls%100 == 0 && !l.failed[body] && l.succeeded[body] == 0 {
		l.failed[body] = true
		return errNotYet
	}
	l.succeeded[body]++
	select {
	case l.notify <- struct{}{}:
	default:
	}
	return nil
}

func (l *ledger) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.succeeded)
}

// TestCluster: a three-node cluster keeps three replicas of a stream, and loses the
// leader of it while 10⁵ messages flow: each that was published is handled, and none
// again once its handler has returned nil.
func TestCluster(t *testing.T) {
	messages := 100_000
	if underRace {
		messages = 10_000
	}
	f := newFleet(t, "shop", "billing", "shipping")
	c := natstest.StartCluster(t, 3, natstest.JetStream())
	open := func() broker.Broker {
		return nats.NewBroker(broker.Addrs(c.Addrs()...), broker.Logger(quiet),
			nats.JetStream("ORDERS",
				nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"orders.>"}, Replicas: 3, Storage: jetstream.MemoryStorage}),
				nats.RetryDelay(10*time.Millisecond, time.Second), nats.AckWait(5*time.Second), nats.MaxAckPending(4096), nats.PublishTimeout(30*time.Second)))
	}
	shop, billing := f.join("shop", open()), f.join("billing", open())
	l := newLedger()
	if _, err := billing.Subscribe("orders.created", l.handle, nats.Durable("billing")); err != nil {
		t.Fatal(err)
	}
	publish(t, shop, "orders.created", "first")

	var published sync.Map
	var accepted, failures, next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range 64 {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(messages) {
					return
				}
				body := fmt.Sprintf("order %d", i)
				if err := shop.Publish("orders.created", &broker.Message{Body: []byte(body)}); err != nil {
					failures.Add(1)
					continue
				}
				published.Store(body, true)
				accepted.Add(1)
			}
		})
	}
	eventually(t, "a third is published", func() bool { return accepted.Load() > int64(messages)/3 })
	leader := c.StreamLeader("ORDERS")
	leader.Kill()
	eventually(t, "two thirds are published", func() bool { return next.Load() > 2*int64(messages)/3 })
	leader.Restart(nil)
	wg.Wait()
	all := func() (missing int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		published.Range(func(body, _ any) bool {
			if l.succeeded[body.(string)] == 0 {
				missing++
			}
			return true
		})
		return missing
	}
	eventually(t, "all are handled", func() bool { return l.done() >= int(accepted.Load()) && all() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	for body, times := range l.succeeded {
		if times > 1 {
			t.Errorf("%s was handled %d times after it had succeeded once", body, times)
		}
	}
	if accepted.Load() < int64(messages)*9/10 {
		t.Errorf("only %d of %d messages were accepted", accepted.Load(), messages)
	}
	t.Logf("%d messages, %d not accepted, %d handler calls, %d epochs, in %v", accepted.Load(), failures.Load(), l.calls, sealed.StatsOf(shop).EpochsMade, time.Since(begun).Round(time.Second))
}
