package encrypted

import (
	"fmt"
	"io"

	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/codec"
	"go-micro.dev/v4/transport/headers"
)

// asked is what a client knows of its call or stream.
type asked struct {
	with     *sending // that the first request was sealed with: answers are, too
	latest   *sending
	binding  [envelope.BindingSize]byte
	sent     uint64 // requests
	answered uint64 // answers that came
}

// request seals a request: of a call, or one after the other of a stream.
func (c *instance) request(m *codec.Message, body any) error {
	t := targetOf(m)
	if err := checkContentType(t.contentType); err != nil {
		return err
	}
	plain, err := c.encode(m, body)
	if err != nil {
		return err
	}
	out, err := c.e.sendCall(t.service)
	if err != nil {
		return err
	}
	c.mu.Lock()
	was := c.asked
	c.mu.Unlock()
	var position *later
	var known *sending
	if was != nil {
		position, known = &later{was.binding, was.sent}, was.latest
	}
	topic, err := t.topic(position)
	if err != nil {
		return err
	}
	space := takeSpace()
	defer giveSpace(space)
	s, err := c.e.seal(*space, out, topic, plain, known)
	if err != nil {
		return err
	}
	*space = s.data
	if was != nil {
		was.latest = s.with // go-micro's streams send one message after the other
		was.sent++
		return c.write(s.data)
	}
	c.mu.Lock()
	c.asked = &asked{with: s.with, latest: s.with, binding: s.with.epoch.Binding(s.data), sent: 1}
	c.mu.Unlock()
	return c.write(s.data)
}

// answered opens an answer. The headers that came with it are anybody's, so that
// nothing of them is left.
func (c *instance) answered(m *codec.Message) error {
	space := takeSpace()
	defer giveSpace(space)
	// All of it: what is left in the buffer, a bytes.Frame would get.
	if err := readAll(c.rw, space); err != nil {
		return err
	}
	c.mu.Lock()
	was := c.asked
	c.mu.Unlock()
	said := m.Header[headers.Error]
	*m = codec.Message{Type: m.Type}
	if was == nil {
		return fmt.Errorf("%w: nothing was asked: the first message of a stream went past the codec: give ClientOptions to client.NewClient, not to Init", ErrUnauthenticated)
	}
	if len(*space) == 0 && said == refusal {
		err := reject(Clear, "the service refused the request, and its log says why; or somebody in between says so")
		c.e.report.tell(Rejection{Reason: Clear, Err: err})
		return fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	c.space = takeSpace()
	kind, body, err := was.with.openAnswer(c.space, *space, &question{was.binding, was.answered})
	if err != nil {
		c.e.report.tell(Rejection{Reason: reasonOf(err), Err: err})
		return fmt.Errorf("%w: %w%s", ErrUnauthenticated, err, hint(said, *space))
	}
	was.answered++ // go-micro's streams receive one message after the other
	if kind == answerError {
		if m.Error = string(body); m.Error == "" {
			m.Error = "encrypted: an error without a text"
		}
		return nil
	}
	c.plain = body
	return nil
}

// readAll reads what is in a buffer of go-micro's.
func readAll(r io.Reader, into *[]byte) error {
	b := *into
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*into = b
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// hint repeats what came in clear. Whoever it is from, it may help to find the cause.
func hint(header string, body []byte) string {
	const most = 200
	said := header
	if said == "" {
		said = string(body[:min(len(body), most)])
		for _, b := range body[:min(len(body), most)] {
			if b < ' ' || b > '~' {
				return ""
			}
		}
	}
	if said == "" {
		return ""
	}
	return fmt.Sprintf(" (somebody says, in clear: %+q)", said[:min(len(said), most)])
}
