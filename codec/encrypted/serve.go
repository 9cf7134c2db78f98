package encrypted

import (
	"errors"
	"time"

	"github.com/go-signet/signet/internal/envelope"
	"go-micro.dev/v4/codec"
	merrors "go-micro.dev/v4/errors"
	"go-micro.dev/v4/transport/headers"
)

// served is what a server knows of a call or stream.
type served struct {
	openedMessage // the first request, whose epoch answers are sealed with

	received uint64 // requests
	refused  string // what the caller is told instead of an answer
	handed   string // the name that it waits under for our wrapper
	accept   string // the header that gave way to that name
	latest   *received

	answered uint64 // answers; under instance.answering
}

// serve opens a request.
func (c *instance) serve(m *codec.Message) error {
	if err := c.opens(m, time.Now()); err != nil {
		return c.e.report.reject(m.Target+" "+m.Endpoint, err)
	}
	return nil
}

func (c *instance) opens(m *codec.Message, now time.Time) error {
	c.mu.Lock()
	was := c.served
	c.mu.Unlock()
	if err := c.e.usable(); err != nil {
		return reject(NotRecipient, "%w", err)
	}
	if m.Header == nil {
		m.Header = make(map[string]string)
	}
	delete(m.Header, openedHeader)
	if len(m.Body) == 0 {
		if was != nil && m.Error == endOfStream {
			return nil // which go-micro's client sends past the codec
		}
		return reject(Empty, "a request without a body")
	}
	said := m.Error
	m.Error = "" // requests have none
	t := targetOf(m)
	if err := c.addressed(&t, said); err != nil {
		return err
	}
	if was != nil {
		return c.opensLater(m, was, &t, now)
	}
	topic, err := t.topic(nil)
	if err != nil {
		return reject(Limit, "%w", err)
	}
	s := new(served)
	err = s.openOnce(c.e, m.Body, scopeCall+t.service, topic, now, func() error {
		err := c.e.authorize(s.peer, m.Endpoint)
		if err != nil {
			c.forbids(s, m.Endpoint)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.serves(s)
	c.opened(&s.openedMessage)
	s.body, s.space = nil, nil
	if c.e.wrapped {
		s.handed = c.e.opened.leave(c)
		if s.accept = m.Header[acceptHeader]; s.accept != "" {
			// One out, one in: at nine headers, a Go map takes twice the memory.
			delete(m.Header, acceptHeader)
		}
		m.Header[openedHeader] = s.handed
	}
	return nil
}

// addressed checks, of a request, what it says in clear.
func (c *instance) addressed(t *target, said string) error {
	if err := checkContentType(t.contentType); err != nil {
		return reject(Misdirected, "%w", err)
	}
	if !c.e.id.Peer().Serves(t.service) {
		return reject(Misdirected, "it is for %s: this is %s", quote(t.service), c.e.id.ID())
	}
	if said != "" {
		return reject(Tampered, "a request with an error in its header: %s", quote(said))
	}
	return nil
}

// serves notes whose request this is. From here on an error reply is sealed.
func (c *instance) serves(s *served) {
	s.latest, s.received = s.from, 1
	c.mu.Lock()
	c.served = s
	c.mu.Unlock()
}

// forbids seals to a caller that it may not call.
//
//go:noinline
func (c *instance) forbids(s *served, endpoint string) {
	s.refused = merrors.Forbidden("encrypted", "%s may not call %s", s.peer.ID, endpoint).Error()
	c.serves(s)
}

// opensLater opens a later message of a stream. It is bound to the one that opened the
// stream and to its place, so it needs no replay window and may have waited.
//
//go:noinline
func (c *instance) opensLater(m *codec.Message, s *served, t *target, now time.Time) error {
	topic, err := t.topic(&later{s.binding, s.received})
	if err != nil {
		return reject(Limit, "%w", err)
	}
	env, err := envelope.Parse(m.Body)
	if err != nil {
		return err
	}
	scope := scopeCall + t.service
	r := s.latest
	if env.Epoch != r.id() {
		if r = c.e.in.get(env.Epoch); r == nil {
			if r, err = c.e.admit(env, scope, now); err != nil {
				return err
			}
		}
	}
	opened := new(openedMessage)
	if err := opened.openWith(c.e, r, env, scope, topic, now); err != nil {
		return err
	}
	if opened.peer.ID != s.peer.ID {
		return &rejected{Sender, errors.New("the stream is of another caller"), *opened.peer}
	}
	r.handled(env.Counter, now)
	s.latest = r
	s.received++
	c.opened(opened)
	return nil
}

// answer seals an answer, or an error.
func (c *instance) answer(m *codec.Message, body any) error {
	c.mu.Lock()
	s := c.served
	c.mu.Unlock()
	text := m.Error
	if m.Type != codec.Response || text != "" {
		// go-micro has put the error into the header, which may be the request's.
		m.Header = map[string]string{}
		if m.Id != "" {
			m.Header[headers.ID] = m.Id
		}
	}
	if s == nil {
		// The request was not opened: there is nothing to seal with.
		m.Header = map[string]string{headers.Error: refusal}
		return nil
	}
	m.Error = ""
	if s.handed != "" { // no handler was found, or the body is not what it takes
		c.e.opened.take(s.handed)
		s.handed = ""
	}
	c.answering.Lock()
	defer c.answering.Unlock()
	space := takeSpace()
	defer giveSpace(space)
	data, err := c.sealAnswer(*space, s, m, text, body)
	if err != nil {
		return err
	}
	*space = data
	return c.write(data)
}

// sealAnswer appends the next answer to dst. The lock for answers is held.
func (c *instance) sealAnswer(dst []byte, s *served, m *codec.Message, text string, body any) ([]byte, error) {
	if s.refused != "" {
		text = s.refused
	}
	room := takeSpace()
	defer giveSpace(room)
	var plain []byte
	kind := byte(answerBody)
	if text == "" {
		var err error
		if plain, err = c.encode(room, m, body); err != nil {
			// go-micro would send the error in clear.
			c.e.report.tell(Rejection{Reason: Encoding, Err: err, Peer: *s.peer})
			text, plain = merrors.InternalServerError("encrypted", "the answer cannot be encoded: the service's log says why").Error(), nil
		}
	}
	if text != "" {
		kind = answerError
	}
	q := &question{s.binding, s.answered, &c.bound}
	data, err := s.from.answer(dst, q, kind, text, plain)
	if err != nil {
		c.e.report.tell(Rejection{Reason: Encoding, Err: err, Peer: *s.peer})
		if data, err = s.from.answer(dst, q, answerError, merrors.InternalServerError("encrypted", "the answer is too large").Error(), nil); err != nil {
			return nil, err
		}
	}
	s.answered++
	return data, nil
}
