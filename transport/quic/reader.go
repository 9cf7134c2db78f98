package quic

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/go-signet/signet/internal/caller"
	"go-micro.dev/v4/transport"
)

const (
	// readAhead is the memory that a socket keeps for reading: a small message
	// arrives with one read. Idle sockets hold this and no more.
	readAhead = 1 << 10

	// growth bounds how far memory runs ahead of what has arrived: a peer that
	// announces a length takes at most this many times what it has sent, or
	// growth*readAhead.
	growth = 8
)

// messageReader takes messages off a stream.
//
// An error is final: the position in the stream is lost. The one exception is
// a timeout before the first byte of a message; see clean.
type messageReader struct {
	r          io.Reader
	lim        messageLimits
	partial    *partialBudget
	start, end int   // buf[start:end] is read but not consumed
	within     bool  // a message has begun and is not complete
	err        error // kept for when the buffer is used up
	buf        [readAhead]byte
}

// clean reports whether the stream stands between two messages, and no byte of
// the next one is here.
func (d *messageReader) clean() bool { return !d.within && d.start == d.end }

// read decodes the next message into m. It returns io.EOF if the stream ends
// between messages and io.ErrUnexpectedEOF if it ends within one.
func (d *messageReader) read(m *transport.Message) error {
	if d.start == d.end {
		if err := d.fill(); err != nil {
			return err
		}
	}
	d.within = true
	headerLen, err := d.varint()
	if err != nil {
		return err
	}
	if headerLen > d.lim.headerBytes {
		return fmt.Errorf("%w: a header block of %d bytes was announced, the limit is %d", ErrTooLarge, headerLen, d.lim.headerBytes)
	}
	bodyLen, err := d.varint()
	if err != nil {
		return err
	}
	if bodyLen > d.lim.bodyBytes {
		return fmt.Errorf("%w: a body of %d bytes was announced, the limit is %d", ErrTooLarge, bodyLen, d.lim.bodyBytes)
	}

	var block string
	if n := int(headerLen); n <= d.end-d.start {
		block = string(d.buf[d.start : d.start+n])
		d.start += n
	} else {
		b, err := d.bytes(n)
		if err != nil {
			return unexpected(err)
		}
		block = string(b)
	}
	header, err := parseHeaders(block, d.lim.headers, caller.Reserved)
	if err != nil {
		return err
	}
	body, err := d.bytes(int(bodyLen))
	if err != nil {
		return unexpected(err)
	}
	m.Header, m.Body = header, body
	d.within = false
	return nil
}

// varint reads an integer in its shortest form.
func (d *messageReader) varint() (uint64, error) {
	if d.start == d.end {
		if err := d.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	need := 1 << (d.buf[d.start] >> 6)
	for d.end-d.start < need {
		if err := d.fill(); err != nil {
			return 0, unexpected(err)
		}
	}
	v, _, ok := cutVarint(string(d.buf[d.start : d.start+need]))
	if !ok {
		return 0, fmt.Errorf("%w: a length is not in its shortest form", ErrMalformed)
	}
	d.start += need
	return v, nil
}

// fill reads at least one more byte into the buffer.
func (d *messageReader) fill() error {
	if d.start > 0 {
		d.end = copy(d.buf[:], d.buf[d.start:d.end])
		d.start = 0
	}
	if d.err != nil {
		err := d.err
		d.err = nil
		return err
	}
	n, err := io.ReadAtLeast(d.r, d.buf[d.end:], 1)
	d.end += n
	if n > 0 {
		d.err = err
		return nil
	}
	return err
}

// scratch is where the beginning of a large block waits until enough has arrived
// to take memory for all of it.
var scratch = sync.Pool{New: func() any { return new([growth * readAhead]byte) }}

// bytes reads the next n bytes into fresh memory.
func (d *messageReader) bytes(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	have := min(n, d.end-d.start)
	if n <= growth*have {
		b := make([]byte, n)
		copy(b, d.take(have))
		return b, d.full(b[have:])
	}
	held := 0
	defer func() { d.partial.give(held) }()
	hold := func(n int) error {
		held += n
		return d.partial.take(n)
	}
	s := scratch.Get().(*[growth * readAhead]byte)
	defer scratch.Put(s)
	b := s[:min(n, len(s))]
	if err := hold(len(s)); err != nil {
		return nil, err
	}
	copy(b, d.take(have))
	for {
		if err := d.full(b[have:]); err != nil {
			return nil, err
		}
		have = len(b)
		if err := hold(min(n, growth*have)); err != nil {
			return nil, err
		}
		grown := make([]byte, min(n, growth*have))
		copy(grown, b)
		b = grown
		if len(b) == n {
			return b, d.full(b[have:])
		}
	}
}

// take consumes n bytes of the buffer.
func (d *messageReader) take(n int) []byte {
	b := d.buf[d.start : d.start+n]
	d.start += n
	return b
}

// full fills b from the stream; the buffer must be used up unless b is empty.
func (d *messageReader) full(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if d.err != nil {
		return d.err
	}
	_, err := io.ReadFull(d.r, b)
	return err
}

// unexpected turns the end of a stream within a message into what it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// partialBudget bounds the memory of all messages that have begun to arrive and
// are not complete. A nil budget has no bound.
type partialBudget struct {
	total int64
	held  atomic.Int64
}

// take counts n bytes more. The caller gives them back, also after an error.
func (b *partialBudget) take(n int) error {
	if b != nil && b.held.Add(int64(n)) > b.total {
		return fmt.Errorf("%w: messages that have not arrived in full would hold more than Limits.Partial, %d bytes", ErrTooLarge, b.total)
	}
	return nil
}

func (b *partialBudget) give(n int) {
	if b != nil {
		b.held.Add(-int64(n))
	}
}
