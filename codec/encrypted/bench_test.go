package encrypted_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/codec/json"

	"github.com/go-signet/signet/codec/encrypted"
	"github.com/go-signet/signet/identity"
)

// half is what go-micro gives a codec: two buffers that are none of its business.
type half struct{ in, out bytes.Buffer }

func (h *half) Read(p []byte) (int, error)  { return h.in.Read(p) }
func (h *half) Write(p []byte) (int, error) { return h.out.Write(p) }
func (h *half) Close() error                { return nil }

// exchange is one call as the codecs of both ends see it.
func exchange(client, server codec.NewCodec, req, into, rsp, answer any) (request, reply int, err error) {
	var a, b half
	cc, sc := client(&a), server(&b)
	m := &codec.Message{Type: codec.Request, Target: "greeter", Method: "Greeter.Hello", Endpoint: "Greeter.Hello",
		Header: map[string]string{"Content-Type": encrypted.ContentTypeJSON}}
	if err := cc.Write(m, req); err != nil {
		return 0, 0, err
	}
	request = a.out.Len()
	b.in.Write(a.out.Bytes())
	in := &codec.Message{Type: codec.Request, Target: m.Target, Method: m.Method, Endpoint: m.Endpoint, Header: m.Header, Body: a.out.Bytes()}
	if err := sc.ReadHeader(in, codec.Request); err != nil {
		return 0, 0, err
	}
	if err := sc.ReadBody(into); err != nil {
		return 0, 0, err
	}
	if err := sc.Write(&codec.Message{Type: codec.Response}, rsp); err != nil {
		return 0, 0, err
	}
	reply = b.out.Len()
	a.in.Write(b.out.Bytes())
	if err := cc.ReadHeader(&codec.Message{}, codec.Response); err != nil {
		return 0, 0, err
	}
	return request, reply, cc.ReadBody(answer)
}

// BenchmarkCall is what the codecs of both ends take for one call.
func BenchmarkCall(b *testing.B) {
	a := authority(b)
	web := issue(b, a, "web")
	server := encrypted.NewCodec(issueKnown(b, a, web, "greeter"), json.NewCodec)
	client := encrypted.NewCodec(web, json.NewCodec)
	for _, size := range []int{16, 4 << 10} {
		for _, c := range []struct {
			name           string
			client, server codec.NewCodec
		}{{"clear", json.NewCodec, json.NewCodec}, {"encrypted", client, server}} {
			b.Run(fmt.Sprintf("codec=%s/size=%d", c.name, size), func(b *testing.B) {
				b.ReportAllocs()
				req, rsp := &Request{strings.Repeat("x", size)}, &Response{strings.Repeat("y", size)}
				var request, reply int
				for b.Loop() {
					var err error
					if request, reply, err = exchange(c.client, c.server, req, new(Request), rsp, new(Response)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(request), "request-bytes")
				b.ReportMetric(float64(reply), "answer-bytes")
			})
		}
	}
}

// issueKnown issues an identity whose card somebody has.
func issueKnown(tb testing.TB, a *identity.Authority, who *identity.Identity, service string) *identity.Identity {
	id := issue(tb, a, service)
	meet(tb, who, id)
	return id
}
