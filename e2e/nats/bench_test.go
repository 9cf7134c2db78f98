package nats_test

import (
	"fmt"
	"testing"

	"github.com/go-signet/signet/broker/nats"
	"github.com/go-signet/signet/e2e/internal/natstest"
	natsgo "github.com/nats-io/nats.go"
	"go-micro.dev/v4/broker"
)

// BenchmarkDeliver publishes on one connection and counts deliveries on another, with at
// most a thousand messages on their way. plugin=raw is nats.go without this package.
func BenchmarkDeliver(b *testing.B) {
	s := natstest.Start(b)
	body := make([]byte, 1024)
	const window = 1000
	for _, headers := range []int{0, 3} {
		h := map[string]string{}
		for i := range headers {
			h[fmt.Sprint("Name-", i)] = "value"
		}
		run := func(b *testing.B, publish func() error, got <-chan struct{}) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			sent, received := 0, 0
			for b.Loop() {
				if err := publish(); err != nil {
					b.Fatal(err)
				}
				if sent++; sent-received == window {
					<-got
					received++
				}
			}
			for ; received < sent; received++ {
				<-got
			}
		}
		b.Run(fmt.Sprintf("plugin=signet/headers=%d", headers), func(b *testing.B) {
			from, to := nats.NewBroker(), nats.NewBroker()
			for _, c := range []broker.Broker{from, to} {
				_ = c.Init(broker.Addrs(s.Running().Addr().String()), broker.Logger(newLogs()))
				if err := c.Connect(); err != nil {
					b.Fatal(err)
				}
				defer c.Disconnect()
			}
			got := make(chan struct{}, window)
			if _, err := to.Subscribe("topic", func(broker.Event) error { got <- struct{}{}; return nil }); err != nil {
				b.Fatal(err)
			}
			run(b, func() error { return from.Publish("topic", &broker.Message{Header: h, Body: body}) }, got)
		})
		if headers == 0 {
			b.Run("plugin=raw/headers=0", func(b *testing.B) {
				from, to := s.Client(), s.Client()
				defer from.Close()
				defer to.Close()
				got := make(chan struct{}, window)
				if _, err := to.Subscribe("topic", func(*natsgo.Msg) { got <- struct{}{} }); err != nil {
					b.Fatal(err)
				}
				if err := to.Flush(); err != nil {
					b.Fatal(err)
				}
				run(b, func() error { return from.Publish("topic", body) }, got)
			})
		}
	}
}
