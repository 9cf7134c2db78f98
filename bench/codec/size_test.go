package codec

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/codec"
	raw "go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/registry"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
)

// pipe is what go-micro gives a codec.
type pipe struct{ in, out bytes.Buffer }

func (p *pipe) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipe) Close() error                { return nil }

// BenchmarkSize reports what sealing adds to a message, in bytes, for services of
// several box keys: to the first call of a node and to later ones, to a later message of a
// stream, and to an answer.
func BenchmarkSize(b *testing.B) {
	for _, keys := range []int{1, 3, 10} {
		for _, variant := range []struct {
			name string
			opts []encrypted.Option
		}{
			{"card", nil},
			{"no-card", []encrypted.Option{encrypted.OmitCard()}},
			{"post-quantum", []encrypted.Option{encrypted.PostQuantum()}},
		} {
			b.Run(fmt.Sprintf("keys=%d/variant=%s", keys, variant.name), func(b *testing.B) {
				measure(b, keys, variant.opts)
			})
		}
	}
}

func measure(b *testing.B, keys int, opts []encrypted.Option) {
	authority, err := identity.NewAuthority("bench.internal")
	if err != nil {
		b.Fatal(err)
	}
	issue := func(name string) *identity.Identity {
		id, err := authority.Issue(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { id.Close() })
		return id
	}
	introduce := func(who, whom *identity.Identity) {
		card, err := whom.Card()
		if err == nil {
			err = who.AddCard(card)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	caller := issue("caller")
	var server *identity.Identity
	for range keys {
		server = issue(service)
		introduce(caller, server)
	}
	introduce(server, caller)
	answerer := encrypted.NewCodec(server, raw.NewCodec, opts...)
	var first, later, stream, answer int
	for b.Loop() {
		asks := client.NewOptions(encrypted.ClientOptions(caller, opts...)...)
		first, _ = callOf(b, asks, answerer)
		later, answer = callOf(b, asks, answerer)
		stream = messageOf(b, asks, answerer)
	}
	b.ReportMetric(float64(first), "request-bytes")
	b.ReportMetric(float64(later), "later-bytes")
	b.ReportMetric(float64(stream), "stream-bytes")
	b.ReportMetric(float64(answer), "answer-bytes")
}

// size is that of each body.
const size = 1000

func message(stream string) *codec.Message {
	m := &codec.Message{Type: codec.Request, Target: service, Method: "Echo.Bytes", Endpoint: "Echo.Bytes", Header: map[string]string{"Content-Type": encrypted.ContentTypeBytes}}
	if stream != "" {
		m.Header["Micro-Stream"] = stream
	}
	return m
}

// callOf makes a call without a transport, and returns what request and answer grow by.
func callOf(b *testing.B, asks client.Options, answerer codec.NewCodec) (request, answer int) {
	call := func(_ context.Context, _ *registry.Node, req client.Request, rsp any, _ client.CallOptions) error {
		var there, here pipe
		c, s := asks.Codecs[encrypted.ContentTypeBytes](&there), answerer(&here)
		m := message("")
		if err := c.Write(m, req.Body()); err != nil {
			return err
		}
		m.Body = there.out.Bytes()
		if err := s.ReadHeader(m, codec.Request); err != nil {
			return err
		}
		if err := s.Write(&codec.Message{Type: codec.Response}, make([]byte, size)); err != nil {
			return err
		}
		request, answer = there.out.Len()-size, here.out.Len()-size
		there.in.Write(here.out.Bytes())
		if err := c.ReadHeader(&codec.Message{}, codec.Response); err != nil {
			return err
		}
		return c.ReadBody(rsp)
	}
	var rsp []byte
	req := client.NewRequest(service, "Echo.Bytes", make([]byte, size), client.WithContentType(encrypted.ContentTypeBytes))
	wrapped := asks.CallOptions.CallWrappers[0](call)
	if err := wrapped(b.Context(), &registry.Node{Address: "127.0.0.1:1"}, req, &rsp, client.CallOptions{}); err != nil {
		b.Fatal(err)
	}
	return request, answer
}

// messageOf sends two messages of a stream, and returns what the second grows by.
func messageOf(b *testing.B, asks client.Options, answerer codec.NewCodec) (grows int) {
	var there, here pipe
	c, s := asks.Codecs[encrypted.ContentTypeBytes](&there), answerer(&here)
	for range 2 {
		there.out.Reset()
		m := message("1")
		if err := c.Write(m, make([]byte, size)); err != nil {
			b.Fatal(err)
		}
		m.Body = there.out.Bytes()
		if err := s.ReadHeader(m, codec.Request); err != nil {
			b.Fatal(err)
		}
		grows = there.out.Len() - size
	}
	return grows
}
