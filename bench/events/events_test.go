package events

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/bench/internal/measure"
	"github.com/nats-io/nats-server/v2/server"
)

// warmUp is how many messages are delivered before the clock starts.
const warmUp = 64

// BenchmarkEvents brings a message from Publish to its handler.
func BenchmarkEvents(b *testing.B) {
	s := serve(b)
	// Peers one after the other in the same situation: they are compared with each other.
	for _, size := range sizes {
		for _, inflight := range inflights {
			for _, p := range peers() {
				if slices.Contains(p.inflights(), inflight) {
					b.Run(p.at(size, inflight), func(b *testing.B) { deliver(b, p, s, size, inflight) })
				}
			}
		}
	}
}

func deliver(b *testing.B, p peer, s *server.Server, size, inflight int) {
	m, body := newMeter(size), payload(size)
	publish := p.open(b, s, m)
	send := func() error { return publish(body) }
	wire := onWire(b, p, s, m, send)
	if err := m.run(warmUp, inflight, send); err != nil {
		b.Fatalf("warm up: %v", err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	before := measure.CPUTime(b)
	b.ResetTimer()
	if err := m.run(b.N, inflight, send); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(measure.CPUTime(b)-before)/float64(b.N), "cpu-ns/op")
	if !p.local {
		b.ReportMetric(float64(len(wire)), "bytes/msg")
	}
}

// onWire publishes one message and returns its headers and body as the server sees them;
// nothing where there is no server.
func onWire(tb testing.TB, p peer, s *server.Server, m *meter, send func() error) []byte {
	tb.Helper()
	if p.local {
		return nil
	}
	spy := connect(tb, s, m)
	defer spy.Close()
	sub, err := spy.SubscribeSync(topic)
	if err != nil {
		tb.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := m.run(1, 1, send); err != nil {
		tb.Fatal(err)
	}
	msg, err := sub.NextMsg(stall)
	if err != nil {
		tb.Fatal(err)
	}
	return append(make([]byte, msg.Size()-len(msg.Subject)-len(msg.Data)), msg.Data...)
}

// TestPeersDeliver: everybody in every size, one in flight and some; and who says to seal
// has nothing on the wire that can be read.
func TestPeersDeliver(t *testing.T) {
	s := serve(t)
	for _, p := range peers() {
		for _, size := range sizes {
			t.Run(p.at(size, 1), func(t *testing.T) {
				m, body := newMeter(size), payload(size)
				publish := p.open(t, s, m)
				send := func() error { return publish(body) }
				if wire := onWire(t, p, s, m, send); p.recipients > 0 && bytes.Contains(wire, body[:16]) {
					t.Error("the body is on the wire")
				} else if p.name == "raw-nats" && !bytes.Equal(wire, body) {
					t.Error("what is on the wire is not the body")
				}
				for _, window := range []int{1, 8} {
					if err := m.run(21, window, send); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestMeterNotices: what is lost, comes twice, or is of another length.
func TestMeterNotices(t *testing.T) {
	for name, tc := range map[string]struct {
		want    string
		publish func(m *meter)
	}{
		"lost":    {"0 messages were delivered, want 1", func(*meter) {}},
		"twice":   {"2 messages were delivered, want 1", func(m *meter) { m.deliver(nil); m.deliver(nil) }},
		"longer":  {"1 bytes were delivered, want 0", func(m *meter) { m.deliver([]byte{1}) }},
		"refused": {"slow consumer", func(m *meter) { m.fail(errors.New("slow consumer")); m.deliver(nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(0)
			m.stall = 10 * time.Millisecond
			err := m.run(1, 1, func() error { tc.publish(m); return nil })
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
