package nats_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-signet/signet/e2e/internal/natstest"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/metadata"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"
)

// Order is what a shop tells its billing.
type Order struct {
	ID string `json:"id"`
}

// TestMicro has go-micro's own server and client use the broker, as it does with others.
func TestMicro(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []broker.Option
		made func(t *testing.T, s *natstest.Server, opts ...broker.Option) broker.Broker
	}{
		{"memory", nil, func(*testing.T, *natstest.Server, ...broker.Option) broker.Broker { return shared }},
		{"core", nil, func(t *testing.T, s *natstest.Server, opts ...broker.Option) broker.Broker {
			return open(t, s.Addr(), opts...)
		}},
		{"stream", []broker.Option{stream()}, func(t *testing.T, s *natstest.Server, opts ...broker.Option) broker.Broker {
			return open(t, s.Addr(), opts...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := natstest.Start(t, natstest.JetStream())
			type call struct {
				id, tenant string
				topic      string
			}
			calls := make(chan call, 100)
			var failed atomic.Bool
			reg := registry.NewMemoryRegistry()
			srv := server.NewServer(server.Name("shop"), server.Registry(reg), server.Transport(transport.NewMemoryTransport()),
				server.Broker(tt.made(t, s, tt.opts...)), server.RegisterInterval(0), server.Address("127.0.0.1:0"))
			handle := func(ctx context.Context, o *Order) error {
				tenant, _ := metadata.Get(ctx, "Tenant")
				topic, _ := metadata.Get(ctx, "Micro-Topic")
				calls <- call{o.ID, tenant, topic}
				if o.ID == "fails" && failed.CompareAndSwap(false, true) {
					return errors.New("not now")
				}
				return nil
			}
			if err := srv.Subscribe(srv.NewSubscriber("s.orders", handle, server.SubscriberQueue("billing"))); err != nil {
				t.Fatal(err)
			}
			if err := srv.Start(); err != nil {
				t.Fatal(err)
			}
			b := tt.made(t, s, tt.opts...)
			cl := client.NewClient(client.Broker(b), client.Registry(reg), client.Transport(transport.NewMemoryTransport()))
			defer b.Disconnect()
			for _, id := range []string{"1", "fails", "2"} {
				ctx := metadata.Set(context.Background(), "Tenant", " a\r\nb")
				if err := cl.Publish(ctx, cl.NewMessage("s.orders", &Order{ID: id}, client.WithMessageContentType("application/json"))); (err != nil) != (id == "fails" && tt.name == "memory") {
					t.Fatal(err)
				}
				for got := ""; got != id; { // what has failed comes again from a stream
					select {
					case c := <-calls:
						if got = c.id; c.tenant != " a\r\nb" || c.topic != "s.orders" || got != id && got != "fails" {
							t.Fatalf("got %+v", c)
						}
					case <-time.After(long):
						t.Fatal("the subscriber was not called")
					}
				}
			}
			within(t, long, "Stop", func() {
				if err := srv.Stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// shared is go-micro's memory broker, which works within one broker only.
var shared = broker.NewMemoryBroker()
