package quic

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/caller"
	quicgo "github.com/quic-go/quic-go"
	"go-micro.dev/v4/transport"
)

// noDeadline clears a deadline.
var noDeadline time.Time

// writeChunk is how much of a large body is written under one deadline.
const writeChunk = 1 << 20

// messageStream sends and receives messages on one QUIC stream. Send, recv and
// close may run beside each other; sends are atomic.
type messageStream struct {
	qs        *quicgo.Stream
	peerTakes messageLimits
	ioTimeout time.Duration // of each send and recv; 0 for none
	stall     time.Duration // how long a write may make no progress

	writing sync.Mutex
	first   bool // the stream's type is still to be written; guarded by writing

	reading sync.Mutex
	reader  messageReader // guarded by reading
	ended   bool          // the peer sent its last message; guarded by reading

	closed   atomic.Bool
	poisoned atomic.Pointer[error]
}

// newMessageStream uses qs by the settings; peerTakes bounds what is sent. opener:
// we opened the stream, and say its type.
func newMessageStream(qs *quicgo.Stream, set *settings, peerTakes messageLimits, opener bool) *messageStream {
	return &messageStream{
		qs:        qs,
		peerTakes: peerTakes,
		ioTimeout: set.ioTimeout,
		stall:     set.timeouts.Write,
		first:     opener,
		reader:    messageReader{r: qs, lim: set.limits.message(), partial: set.partial},
	}
}

// buffers hold encoded messages while they are written.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxPooled keeps the memory of a rare large header block from staying around.
const maxPooled = maxPrefix + inlineBody + 8<<10

// send writes one message. wrote tells whether a byte of it may have left.
func (s *messageStream) send(m *transport.Message) (wrote bool, err error) {
	body := m.Body
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxPooled {
			buffers.Put(buf)
		}
	}()

	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(); err != nil {
		return false, err
	}
	b, start, err := appendMessage((*buf)[:0], m, body, s.first, s.peerTakes, caller.Reserved)
	*buf = b
	if err != nil {
		return false, err
	}
	until := s.writeDeadline(m)
	n, err := s.write(b[start:], until)
	if err == nil && len(body) > inlineBody {
		_, err = s.write(body, until)
	}
	if n > 0 {
		s.first = false
	}
	if err != nil && n > 0 {
		s.poison(err)
	}
	return n > 0, err
}

// open tells the peer that the stream exists, for when it is to send first.
func (s *messageStream) open() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.first {
		return nil
	}
	if _, err := s.write([]byte{streamTypeMessages}, time.Time{}); err != nil {
		return err
	}
	s.first = false
	return nil
}

// writeDeadline is when the sending of m must be over, or the zero time if it
// only must not stall. A call's own time is honoured because go-micro's client
// cannot give a call up while its Send blocks.
func (s *messageStream) writeDeadline(m *transport.Message) time.Time {
	if s.ioTimeout > 0 {
		return time.Now().Add(s.ioTimeout)
	}
	if v := m.Header["Timeout"]; v != "" {
		if ns, err := strconv.ParseInt(v, 10, 64); err == nil && ns > 0 && time.Duration(ns) < s.stall {
			return time.Now().Add(time.Duration(ns))
		}
	}
	return time.Time{}
}

// write writes b by the time until or, if that is zero, as long as it makes
// progress.
func (s *messageStream) write(b []byte, until time.Time) (n int, err error) {
	for len(b) > 0 {
		deadline := until
		if deadline.IsZero() {
			deadline = time.Now().Add(s.stall)
		}
		if err := s.qs.SetWriteDeadline(deadline); err != nil {
			return n, err
		}
		m, err := s.qs.Write(b[:min(len(b), writeChunk)])
		n += m
		b = b[m:]
		if err != nil {
			if m > 0 && until.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			return n, err
		}
	}
	return n, nil
}

// recv reads the next message into m. Between messages it returns io.EOF if the
// peer is done, or if the stream was closed on this side; a timeout there leaves
// the stream usable. Any other error is final.
func (s *messageStream) recv(m *transport.Message) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.usable(); err != nil {
		if s.closed.Load() {
			return io.EOF
		}
		return err
	}
	if s.ended {
		return io.EOF
	}
	if s.ioTimeout > 0 {
		if err := s.qs.SetReadDeadline(time.Now().Add(s.ioTimeout)); err != nil {
			return err
		}
	}
	err := s.reader.read(m)
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		return io.EOF
	case err == io.EOF:
		s.ended = true
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded) && s.reader.clean():
		return fmt.Errorf("quic: nothing received within %v: %w", s.ioTimeout, err)
	}
	clean := s.reader.clean()
	s.poison(err)
	var se *quicgo.StreamError
	if errors.As(err, &se) && se.Remote {
		if clean {
			return io.EOF
		}
		return io.ErrUnexpectedEOF
	}
	return err
}

// acceptType reads the type of a stream that the peer opened. It reports whether
// the stream carries messages.
func (s *messageStream) acceptType() bool {
	s.reading.Lock()
	defer s.reading.Unlock()
	d := &s.reader
	if d.clean() && d.fill() != nil {
		return false
	}
	t := d.buf[d.start]
	d.start++
	if t != streamTypeMessages {
		s.poison(fmt.Errorf("%w: stream type %#x", ErrMalformed, t))
		return false
	}
	return true
}

// usable reports why nothing more can be sent or received, if so.
func (s *messageStream) usable() error {
	if s.closed.Load() {
		return fmt.Errorf("quic: socket %w", ErrClosed)
	}
	if cause := s.poisoned.Load(); cause != nil {
		return fmt.Errorf("quic: %w: %w", ErrPoisoned, *cause)
	}
	return nil
}

// poison ends the use of a stream on which a message was cut short.
func (s *messageStream) poison(cause error) {
	if !s.poisoned.CompareAndSwap(nil, &cause) {
		return
	}
	code := quicgo.StreamErrorCode(codeDone)
	if errors.Is(cause, ErrMalformed) || errors.Is(cause, ErrTooLarge) {
		code = codeProtocol
	}
	s.qs.CancelRead(code)
	s.qs.CancelWrite(code)
}

// close ends both directions. What was sent before still arrives; a Send that
// is under way is cut short. It never blocks.
func (s *messageStream) close() {
	if !s.closed.CompareAndSwap(false, true) {
		return
	}
	s.qs.CancelRead(codeDone)
	if s.writing.TryLock() {
		defer s.writing.Unlock()
		if s.poisoned.Load() == nil {
			_ = s.qs.Close() // fails if the peer has stopped reading, which is all the same now
		}
		return
	}
	s.qs.CancelWrite(codeDone)
}
