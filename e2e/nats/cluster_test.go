package nats_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go-micro.dev/v4/broker"
)

// TestNodeDiesUnderLoad kills the leader of a stream with three replicas while messages
// flow. Every one of which Publish said that it is stored is handled.
func TestNodeDiesUnderLoad(t *testing.T) {
	c := natstest.StartCluster(t, 3, natstest.JetStream())
	replicated := func() broker.Option {
		return nats.JetStream("S",
			nats.CreateStream(jetstream.StreamConfig{Subjects: []string{"s.>"}, Replicas: 3}),
			nats.AckWait(2*time.Second), nats.RetryDelay(10*time.Millisecond, 100*time.Millisecond),
			nats.PublishTimeout(30*time.Second))
	}
	addrs := strings.Join(c.Addrs(), ",")
	var seen sync.Map
	handle := func(e broker.Event) error {
		seen.Store(string(e.Message().Body), true)
		return nil
	}
	workers := []broker.Broker{connect(t, addrs, replicated()), connect(t, addrs, replicated())}
	for _, b := range workers {
		subscribeWith(t, b, "s.a", handle, broker.Queue("q"))
	}
	var all sync.Map // of one instance
	subscribeWith(t, workers[0], "s.a", func(e broker.Event) error {
		all.Store(string(e.Message().Body), true)
		return nil
	})

	const publishers, each = 8, 600
	half := make(chan struct{}, publishers)
	var wg sync.WaitGroup
	for p := range publishers {
		b := connect(t, addrs, replicated())
		wg.Go(func() {
			for i := range each {
				if i == each/4 {
					half <- struct{}{}
				}
				body := fmt.Sprintf("%d/%d", p, i)
				if err := b.Publish("s.a", &broker.Message{Body: []byte(body)}); err != nil {
					t.Errorf("publish %s: %v", body, err)
				}
			}
		})
	}
	for range publishers {
		<-half
	}
	leader := c.StreamLeader("S")
	leader.Kill()
	wg.Wait()
	missing := func(m *sync.Map) (n int) {
		for p := range publishers {
			for i := range each {
				if _, ok := m.Load(fmt.Sprintf("%d/%d", p, i)); !ok {
					n++
				}
			}
		}
		return n
	}
	eventually(t, "every message is handled, by one of the queue and by the one alone", func() bool { return missing(&seen) == 0 && missing(&all) == 0 })
	leader.Restart(nil)
	c.Ready()
}
