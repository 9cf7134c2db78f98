package envelope

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"time"
)

// What is encrypted:
//
//	time (8) ‖ padding length v ‖ zeros ‖ header count v ‖ { length v ‖ name ‖ length v ‖ value }… ‖ body

// size is how long append makes it.
//
//go:noinline
func (m *Message) size() int {
	n := 8 + varintSize(m.Padding) + m.Padding + varintSize(len(m.Headers)) + len(m.Body)
	for _, f := range m.Headers {
		n += varintSize(len(f.Name)) + len(f.Name) + varintSize(len(f.Value)) + len(f.Value)
	}
	return n
}

func varintSize(n int) int { return max(1, (bits.Len(uint(n))+6)/7) }

// Pad sets the padding so that the size of what is encrypted is a multiple of a number
// above 0: the least that does, up to a few bytes.
func (m *Message) Pad(multiple int) {
	m.Padding = 0
	n := m.size()
	// The padding's length takes a byte already, and perhaps up to three more.
	for p := max(0, (multiple-n%multiple)%multiple-3); ; p++ {
		if (n+varintSize(p)-1+p)%multiple == 0 {
			m.Padding = p
			return
		}
	}
}

//go:noinline
func (m *Message) append(out []byte) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(m.Time.UnixMicro()))
	out = binary.AppendUvarint(out, uint64(m.Padding))
	at := len(out)
	out = out[:at+m.Padding]
	clear(out[at:])
	out = binary.AppendUvarint(out, uint64(len(m.Headers)))
	for _, f := range m.Headers {
		out = appendSized(out, f.Name)
		out = appendSized(out, f.Value)
	}
	return append(out, m.Body...)
}

// Opened is a message that verified. Its parts are of the buffer that it was opened
// into.
type Opened struct {
	Time    time.Time
	Body    []byte
	headers []byte
	count   int
}

// Headers returns the sealed headers.
func (o *Opened) Headers() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		// One string that all are parts of takes memory once.
		all, r := string(o.headers), reader{rest: o.headers}
		next := func() string {
			n := r.number(math.MaxInt32)
			r.skip(n)
			end := len(all) - len(r.rest)
			return all[end-n : end]
		}
		for range o.count {
			if !yield(next(), next()) {
				return
			}
		}
	}
}

// Count returns how many there are.
func (o *Opened) Count() int { return o.count }

// parsePlaintext reads strictly. What it returns is part of data.
//
//go:noinline
func parsePlaintext(data []byte) (Opened, error) {
	r := reader{rest: data}
	t := binary.BigEndian.Uint64(r.take(8))
	if t > math.MaxInt64 {
		r.fail(ErrMalformed, "a time beyond reason")
	}
	padding := r.number(MaxSize)
	if padding > len(r.rest) {
		r.fail(ErrMalformed, "truncated")
	} else {
		for _, b := range r.rest[:padding] {
			if b != 0 {
				r.fail(ErrMalformed, "padding that is not zero")
				break
			}
		}
	}
	if r.err == nil {
		r.rest = r.rest[padding:]
	}
	o := Opened{Time: time.UnixMicro(int64(t)), count: r.number(MaxHeaders)}
	o.headers = r.rest
	for range o.count {
		if name := r.sized(MaxHeaderName); r.err == nil && len(name) > 0 {
			r.skip(r.number(MaxSize))
		}
	}
	if r.err != nil {
		return Opened{}, fmt.Errorf("plaintext: %w", r.err)
	}
	o.headers = o.headers[:len(o.headers)-len(r.rest)]
	o.Body = r.rest
	return o, nil
}

func (r *reader) skip(n int) {
	if n > len(r.rest) {
		r.fail(ErrMalformed, "truncated")
		return
	}
	r.rest = r.rest[n:]
}
