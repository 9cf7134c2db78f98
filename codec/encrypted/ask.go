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

	letter *letter // nil if it did not come through our CallWrapper
	lean   lean
}

// lean is a request that went without its epoch, until something comes back; else zero.
type lean struct {
	sealed   *[]byte
	at       *node
	refusals int // of the node's, when it was sent
}

// request seals a request: of a call, or one after the other of a stream.
func (c *instance) request(m *codec.Message, body any) error {
	l, _ := body.(*letter)
	if l != nil {
		if l.again != nil {
			return c.requestAgain(l)
		}
		body = l.body
	}
	t := targetOf(m)
	if err := checkContentType(t.contentType); err != nil {
		return err
	}
	room := takeSpace()
	defer giveSpace(room)
	plain, err := c.encode(room, m, body)
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
	if was != nil {
		return c.requestLater(out, &t, plain, was)
	}
	topic, err := t.topic(nil)
	if err != nil {
		return err
	}
	space, a := takeSpace(), &c.first
	s, err := c.e.seal(*space, out, topic, plain, func(s *sending) (known bool) {
		if l != nil && len(plain) <= maxLean {
			a.lean.at, a.lean.refusals, known = s.nodes.lean(l.to)
		}
		return known
	})
	if err != nil {
		giveSpace(space)
		return err
	}
	*space = s.data
	if a.lean.at != nil {
		a.lean.sealed = keepSpace(space)
	}
	if a.lean.sealed != space {
		defer giveSpace(space)
	}
	a.letter = l
	c.asks(s.with, s.with.epoch.Binding(s.data))
	return c.write(s.data)
}

// requestAgain sends a request, which was refused without its epoch, with it.
func (c *instance) requestAgain(l *letter) error {
	c.first.letter = l
	c.asks(l.again.with, l.again.binding)
	return c.write(l.again.inline)
}

// asks notes what the first request was.
func (c *instance) asks(with *sending, binding [envelope.BindingSize]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = &c.first
	c.asked.with, c.asked.latest, c.asked.binding, c.asked.sent = with, with, binding, 1
}

// requestLater seals a later message of a stream.
//
//go:noinline
func (c *instance) requestLater(out *outgoing, t *target, plain []byte, was *asked) error {
	topic, err := t.topic(&later{was.binding, was.sent})
	if err != nil {
		return err
	}
	space := takeSpace()
	defer giveSpace(space)
	s, err := c.e.seal(*space, out, topic, plain, func(s *sending) bool { return s.epoch == was.latest.epoch })
	if err != nil {
		return err
	}
	*space = s.data
	was.latest = s.with // go-micro's streams send one message after the other
	was.sent++
	return c.write(s.data)
}

// answered opens an answer. The headers that came with it are anybody's, so that
// nothing of them is left.
func (c *instance) answered(m *codec.Message) error {
	space := takeSpace()
	c.space = space // until the body is read
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
		return errNothingAsked
	}
	if len(*space) == 0 && said == refusal {
		return c.refused(was)
	}
	kind, body, err := was.with.openAnswer(*space, &question{was.binding, was.answered, &c.bound})
	was.settled(err == nil)
	if err != nil {
		return c.unauthenticated(err, said, *space)
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

var errNothingAsked = fmt.Errorf("%w: nothing was asked: the first message of a stream went past the codec: give ClientOptions to client.NewClient, not to Init", ErrUnauthenticated)

//go:noinline
func (c *instance) refused(was *asked) error {
	err := reject(Clear, "the service refused the request, and its log says why; or somebody in between says so")
	if !was.lacks(err) {
		c.e.report.tell(Rejection{Reason: Clear, Err: err})
	}
	return fmt.Errorf("%w: %w", ErrUnauthenticated, err)
}

//go:noinline
func (c *instance) unauthenticated(err error, said string, data []byte) error {
	c.e.report.tell(Rejection{Reason: reasonOf(err), Err: err})
	return fmt.Errorf("%w: %w%s", ErrUnauthenticated, err, hint(said, data))
}

// lacks notes that a request was refused. It reports whether that may have been for want of
// its epoch, so that it is to be sent once more, with it.
func (a *asked) lacks(refused error) bool {
	if a.lean.sealed == nil {
		return false
	}
	inline, err := a.with.epoch.Inline(*a.lean.sealed)
	a.settled(false)
	if err != nil {
		return false // it is our own
	}
	a.letter.lacking.Store(&lacking{inline, a.with, a.binding, refused})
	return true
}

// settled notes that something has come back, and whether it was an answer. If not, the
// node gets the epoch with the next request: who is in between may have put something else
// in the place of a refusal.
func (a *asked) settled(answered bool) {
	switch {
	case a.lean.sealed != nil:
		if !answered {
			a.lean.at.refused(a.lean.refusals)
		}
		giveSpace(a.lean.sealed)
		a.lean = lean{}
	case a.letter != nil && answered:
		a.with.nodes.answered(a.letter.to)
		a.letter.answered.Store(true)
	}
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
