package sealed_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"go-micro.dev/v4/broker"
)

// BenchmarkPublish is one message through the memory broker, from Publish to the end of
// the handler of one of the recipients.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("size=1024/recipients=%d", n), func(b *testing.B) {
			names := []string{"shop"}
			for i := range n {
				names = append(names, fmt.Sprintf("r%d", i))
			}
			f := newFleet(b, names...)
			rule := sealed.Topic("orders.created", sealed.Publishers("shop"), sealed.Subscribers(names[1:]...))
			inner := broker.NewMemoryBroker(broker.Logger(quiet))
			shop, r0 := f.join("shop", inner, rule), f.join("r0", inner, rule)
			sub, err := r0.Subscribe("orders.created", func(broker.Event) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = sub.Unsubscribe() })
			m := &broker.Message{Header: map[string]string{"Content-Type": "application/json", "Micro-Topic": "orders.created"}, Body: []byte(strings.Repeat("x", 1024))}
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				if err := shop.Publish("orders.created", m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
