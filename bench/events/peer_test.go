package events

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/broker/sealed"
	"github.com/nats-io/nats-server/v2/server"
)

// sizes are the bodies measured, in bytes.
var sizes = [...]int{64, 1 << 10, 16 << 10}

// inflights are the numbers of messages that are kept under way: one, for the time that
// a message takes, many, for throughput, and some.
var inflights = [...]int{1, 8, 512}

// topic is what everybody publishes on.
const topic = "orders.created"

// A peer is one way to bring an event from a publisher to a subscriber, each with a
// connection of its own.
type peer struct {
	name string // its part of a benchmark's name
	// recipients can open a message; 0 if it is in clear.
	recipients int
	// local: the message does not leave the process, and Publish returns when it was
	// handled, so that there never is more than one in flight.
	local bool
	// open subscribes, and returns how to publish. Once it has returned, everything that
	// is published is delivered. It ends with tb.
	open func(tb testing.TB, s *server.Server, m *meter) (publish func(body []byte) error)
}

// peers lists everybody who takes part: ours, and the limit last.
func peers() []peer {
	return []peer{
		{name: "sealed-nats", recipients: 1, open: sealedOver(signetNATS, 1)},
		{name: "sealed-nats", recipients: 10, open: sealedOver(signetNATS, 10)},
		{name: "sealed-pq-nats", recipients: 1, open: sealedOver(signetNATS, 1, sealed.PostQuantum())},
		{name: "sealed-pq-nats", recipients: 10, open: sealedOver(signetNATS, 10, sealed.PostQuantum())},
		{name: "nats", open: inClear(signetNATS)},
		{name: "sealed-go-micro-nats", recipients: 1, open: sealedOver(goMicroNATS, 1)},
		{name: "go-micro-nats", open: inClear(goMicroNATS)},
		{name: "xkeys", recipients: 1, open: xkeys},
		{name: "raw-nats", open: rawNATS},
		{name: "sealed-memory", recipients: 1, local: true, open: sealedOver(memory, 1)},
		{name: "sealed-memory", recipients: 10, local: true, open: sealedOver(memory, 10)},
		{name: "memory", local: true, open: inClear(memory)},
	}
}

func (p peer) inflights() []int {
	if p.local {
		return []int{1}
	}
	return slices.Clone(inflights[:])
}

func (p peer) at(size, inflight int) string {
	name := fmt.Sprintf("plugin=%s/size=%d/inflight=%d", p.name, size, inflight)
	if p.recipients > 0 {
		name += fmt.Sprintf("/recipients=%d", p.recipients)
	}
	return name
}

// serve starts the server for all.
func serve(tb testing.TB) *server.Server {
	tb.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(stall) {
		tb.Fatalf("nats does not serve within %v", stall)
	}
	return s
}

// payload returns size printable bytes.
func payload(size int) []byte {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	return []byte(strings.Repeat(alphabet, size/len(alphabet)+1)[:size])
}
