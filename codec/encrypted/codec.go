package encrypted

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"go-micro.dev/v4/codec"
	raw "go-micro.dev/v4/codec/bytes"
	"go-micro.dev/v4/transport/headers"
)

// instance is the codec of one call or stream, at one of its ends, or of one event.
// go-micro may send and receive at the same time.
type instance struct {
	e     *engine
	inner codec.NewCodec
	rw    io.ReadWriteCloser

	// For reading: go-micro reads a header and then its body.
	kind  codec.MessageType
	plain []byte
	space *[]byte // that plain is part of
	read  bool    // a body was decoded

	memory  memory
	message codec.Message // for the inner codec, when it reads
	bound   boundSpace    // for answers

	answering sync.Mutex // answers go out in the order that they are sealed in

	mu     sync.Mutex
	codec  codec.Codec // the inner one, on memory
	closed bool
	asked  *asked  // at a client, once the first request was sealed
	first  asked   // which that points to
	served *served // at a server, once the first request was opened
}

// String names the codec. It is never "grpc", for which go-micro's server has a
// protocol of its own.
func (c *instance) String() string { return "encrypted" }

// Write seals what go-micro sends.
func (c *instance) Write(m *codec.Message, body any) error {
	switch m.Type {
	case codec.Request:
		return c.request(m, body)
	case codec.Event:
		return c.event(m, body)
	}
	return c.answer(m, body)
}

// ReadHeader opens what has come, as a whole: go-micro does not read the body of a
// message that has none.
func (c *instance) ReadHeader(m *codec.Message, kind codec.MessageType) error {
	c.kind = kind
	c.done()
	switch kind {
	case codec.Request:
		return c.serve(m)
	case codec.Event:
		return c.deliver()
	}
	return c.answered(m)
}

// ReadBody decodes what ReadHeader has opened. An empty body leaves b as it is, as
// go-micro's codecs in clear do.
func (c *instance) ReadBody(b any) error {
	defer c.done()
	switch v := b.(type) {
	case nil:
		return nil
	case *Frame:
		v.Data = bytes.Clone(c.plain)
		return nil
	case *raw.Frame:
		return errRawFrame
	}
	return c.decode(c.plain, b)
}

// done forgets what was opened.
func (c *instance) done() {
	c.plain = nil
	if c.space != nil {
		giveSpace(c.space)
		c.space = nil
	}
}

var errRawFrame = fmt.Errorf("%w: go-micro sends a bytes.Frame past every codec: use an encrypted.Frame", ErrClear)

// innerCodec returns the inner codec, which encodes all bodies and decodes the first.
func (c *instance) innerCodec() codec.Codec {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec == nil {
		c.codec = c.inner(&c.memory)
	}
	return c.codec
}

// decode has an inner codec of its own for each later message, so that what is left of
// one, or an error in it, is not there for the next.
func (c *instance) decode(plain []byte, b any) (err error) {
	if len(plain) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it panicked: %v", ErrInner, p)
		}
	}()
	in := &c.memory
	var inner codec.Codec
	if c.read {
		in = new(memory)
		inner = c.inner(in)
	} else {
		inner = c.innerCodec()
	}
	c.read = true
	in.in.Reset(plain)
	defer in.in.Reset(nil) // the memory of plain is used again
	m := &c.message
	*m = codec.Message{Type: c.kind}
	if err := inner.ReadHeader(m, c.kind); err != nil {
		return fmt.Errorf("%w: %w", ErrInner, err)
	}
	if err := inner.ReadBody(b); err != nil {
		return fmt.Errorf("%w: %w", ErrInner, err)
	}
	return nil
}

// encode returns a body as the inner codec has it, in a space of the caller's unless it is
// a Frame.
func (c *instance) encode(space *[]byte, m *codec.Message, body any) ([]byte, error) {
	switch v := body.(type) {
	case nil:
		return nil, nil
	case *Frame:
		return v.Data, nil
	case *raw.Frame:
		return nil, errRawFrame
	}
	inner := c.innerCodec()
	c.memory.out = *bytes.NewBuffer((*space)[:0])
	err := inner.Write(m, body)
	*space = c.memory.out.Bytes()
	c.memory.out = bytes.Buffer{} // the space is used again
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInner, err)
	}
	return *space, nil
}

// Close ends the codec. go-micro's server hands the buffer to another call then, so
// nothing is written any more.
func (c *instance) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.rw.Close()
}

func (c *instance) write(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return io.ErrClosedPipe
	}
	_, err := c.rw.Write(data)
	return err
}

// event seals an event.
func (c *instance) event(m *codec.Message, body any) error {
	room := takeSpace()
	defer giveSpace(room)
	plain, err := c.encode(room, m, body)
	if err != nil {
		return err
	}
	if c.e.o.brokerSeals {
		return c.write(plain)
	}
	topic := m.Header[headers.Message]
	if topic == "" {
		topic = m.Target
	}
	out, err := c.e.sendEvent(topic)
	if err != nil {
		return err
	}
	space := takeSpace()
	defer giveSpace(space)
	s, err := c.e.seal(*space, out, topicEvent(c.innerCodec().String()), plain, nil)
	if err != nil {
		return err
	}
	*space = s.data
	return c.write(s.data)
}

// deliver opens an event. go-micro does this for each handler of it, so a replay
// cannot be told here.
func (c *instance) deliver() error {
	data, err := io.ReadAll(c.rw)
	if err != nil {
		return err
	}
	if c.e.o.brokerSeals {
		c.plain = data
		return nil
	}
	m := new(openedMessage)
	topic, err := c.e.openEvent(m, data, c.innerCodec().String(), time.Now())
	if err != nil {
		return c.e.report.reject(topic, err)
	}
	c.opened(m)
	return nil
}

// opened keeps the body of a message for ReadBody.
func (c *instance) opened(m *openedMessage) { c.plain, c.space = m.body, m.space }

// openEvent opens an event of an inner codec, and returns the topic that it was sealed
// for.
func (e *engine) openEvent(m *openedMessage, data []byte, inner string, now time.Time) (topic string, err error) {
	return m.openOften(e, data, scopeEvent, topicEvent(inner), now)
}
