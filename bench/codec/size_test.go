package codec

import (
	"bytes"
	"fmt"
	"testing"

	"go-micro.dev/v4/codec"
	raw "go-micro.dev/v4/codec/bytes"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
)

// pipe is what go-micro gives a codec.
type pipe struct{ in, out bytes.Buffer }

func (p *pipe) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipe) Close() error                { return nil }

// BenchmarkSize reports what sealing adds to a message, in bytes, for services of
// several box keys.
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
	client, answerer := encrypted.NewCodec(caller, raw.NewCodec, opts...), encrypted.NewCodec(server, raw.NewCodec, opts...)
	const size = 1000
	body := make([]byte, size)
	var request, later, answer int
	for b.Loop() {
		var there, here pipe
		c, s := client(&there), answerer(&here)
		header := map[string]string{"Content-Type": encrypted.ContentTypeBytes, "Micro-Stream": "1"}
		send := func() int {
			there.out.Reset()
			m := &codec.Message{Type: codec.Request, Target: service, Method: "Echo.Bytes", Endpoint: "Echo.Bytes", Header: header}
			if err := c.Write(m, body); err != nil {
				b.Fatal(err)
			}
			m.Body = there.out.Bytes()
			if err := s.ReadHeader(m, codec.Request); err != nil {
				b.Fatal(err)
			}
			return there.out.Len() - size
		}
		request, later = send(), send()
		if err := s.Write(&codec.Message{Type: codec.Response}, body); err != nil {
			b.Fatal(err)
		}
		answer = here.out.Len() - size
	}
	b.ReportMetric(float64(request), "request-bytes")
	b.ReportMetric(float64(later), "stream-bytes")
	b.ReportMetric(float64(answer), "answer-bytes")
}
