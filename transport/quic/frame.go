package quic

import (
	"fmt"

	"github.com/quic-go/quic-go/quicvarint"
	"go-micro.dev/v4/transport"
)

// A message on the wire (spec/transport.md, "Message"):
//
//	Message {
//	  Header Length (i),   bytes of the header block
//	  Body Length (i),     bytes of the body
//	  Header Field (..) ...,
//	  Body (..),
//	}
//
//	Header Field {
//	  Name (i),            2*n: a name of n bytes follows; 2*c+1: entry c of the static table
//	  [Name Bytes (n)],
//	  Value Length (i),
//	  Value (..),
//	}
//
// Every integer is a QUIC variable-length integer (RFC 9000, section 16) in
// its shortest form. A name that the static table holds is never spelled out,
// and no name comes twice: each accepted header block has one encoding for its
// order of fields.
const (
	// streamTypeMessages is the first byte of a stream that carries messages.
	// Only its opener, the client, sends it.
	streamTypeMessages = 0x01

	// maxPrefix bounds what comes before the header block: the stream type and
	// two lengths.
	maxPrefix = 1 + 8 + 8

	// inlineBody is the largest body that is copied behind its headers, to cost
	// one write. A larger one is written by itself, uncopied.
	inlineBody = 16 << 10
)

// staticNames are the header names that go-micro writes on every call. Their
// order is part of the wire format: entries are only ever added at the end.
var staticNames = [...]string{
	"Content-Type",
	"Accept",
	"Timeout",
	"Micro-Service",
	"Micro-Method",
	"Micro-Endpoint",
	"Micro-ID",
	"Micro-Id",
	"Micro-Error",
	"Micro-Stream",
	"Micro-Topic",
	"Micro-Protocol",
	"Micro-Target",
	"Micro-Namespace",
	"X-Micro-Service",
	"X-Micro-Method",
	"X-Micro-Endpoint",
	"X-Micro-ID",
	"X-Micro-Error",
	"Micro-From-Service",
	"Micro-Trace-ID",
	"Micro-Trace-Id",
	"Micro-Span-ID",
	"Micro-Span-Id",
	"Connection",
	"Local",
	"Remote",
	"Authorization",
	"User-Agent",
	"Traceparent",
	"Tracestate",
}

// staticCode is the entry that holds name, or -1.
func staticCode(name string) int {
	// The compiler turns this into a search by length and content, which costs
	// less than hashing the name.
	switch name {
	case "Content-Type":
		return 0
	case "Accept":
		return 1
	case "Timeout":
		return 2
	case "Micro-Service":
		return 3
	case "Micro-Method":
		return 4
	case "Micro-Endpoint":
		return 5
	case "Micro-ID":
		return 6
	case "Micro-Id":
		return 7
	case "Micro-Error":
		return 8
	case "Micro-Stream":
		return 9
	case "Micro-Topic":
		return 10
	case "Micro-Protocol":
		return 11
	case "Micro-Target":
		return 12
	case "Micro-Namespace":
		return 13
	case "X-Micro-Service":
		return 14
	case "X-Micro-Method":
		return 15
	case "X-Micro-Endpoint":
		return 16
	case "X-Micro-ID":
		return 17
	case "X-Micro-Error":
		return 18
	case "Micro-From-Service":
		return 19
	case "Micro-Trace-ID":
		return 20
	case "Micro-Trace-Id":
		return 21
	case "Micro-Span-ID":
		return 22
	case "Micro-Span-Id":
		return 23
	case "Connection":
		return 24
	case "Local":
		return 25
	case "Remote":
		return 26
	case "Authorization":
		return 27
	case "User-Agent":
		return 28
	case "Traceparent":
		return 29
	case "Tracestate":
		return 30
	}
	return -1
}

// messageLimits bound one message in one direction.
type messageLimits struct {
	headerBytes uint64 // of a header block
	headers     uint64 // fields in it
	bodyBytes   uint64
}

// appendHeaders appends the header block of h to b. Fields that drop reports
// are left out.
func appendHeaders(b []byte, h map[string]string, drop func(string) bool) ([]byte, uint64) {
	var n uint64
	for name, value := range h {
		if drop(name) {
			continue
		}
		b = appendField(b, name, value)
		n++
	}
	return b, n
}

func appendField(b []byte, name, value string) []byte {
	if c := staticCode(name); c >= 0 {
		b = quicvarint.Append(b, 2*uint64(c)+1)
	} else {
		b = quicvarint.Append(b, 2*uint64(len(name)))
		b = append(b, name...)
	}
	b = quicvarint.Append(b, uint64(len(value)))
	return append(b, value...)
}

// appendMessage appends to b, which must be empty, everything of m up to and
// including its headers, and its body too if that is at most inlineBody bytes
// long. It returns the offset at which the bytes to be written begin. body is
// m.Body as the caller read it, once: go-micro's server may replace the body of
// a message that it has queued.
func appendMessage(b []byte, m *transport.Message, body []byte, firstOnStream bool, lim messageLimits, drop func(string) bool) (_ []byte, start int, err error) {
	if uint64(len(body)) > lim.bodyBytes {
		return b, 0, fmt.Errorf("%w: the body has %d bytes, the peer takes %d: send less, or raise Limits.Body there", ErrTooLarge, len(body), lim.bodyBytes)
	}
	var room [maxPrefix]byte
	b = append(b[:0], room[:]...)
	b, fields := appendHeaders(b, m.Header, drop)
	headerLen := uint64(len(b) - maxPrefix)
	if headerLen > lim.headerBytes {
		return b, 0, fmt.Errorf("%w: the headers have %d bytes, the peer takes %d: send less, or raise Limits.HeaderBytes there", ErrTooLarge, headerLen, lim.headerBytes)
	}
	if fields > lim.headers {
		return b, 0, fmt.Errorf("%w: the message has %d headers, the peer takes %d: send fewer, or raise Limits.Headers there", ErrTooLarge, fields, lim.headers)
	}

	prefix := room[:0]
	if firstOnStream {
		prefix = append(prefix, streamTypeMessages)
	}
	prefix = quicvarint.Append(prefix, headerLen)
	prefix = quicvarint.Append(prefix, uint64(len(body)))
	start = maxPrefix - len(prefix)
	copy(b[start:], prefix)

	if len(body) <= inlineBody {
		b = append(b, body...)
	}
	return b, start, nil
}

// headerFields is how many decoded fields are kept on the stack; more spill
// into a slice.
const headerFields = 24

type headerField struct{ name, value string }

// parseHeaders decodes a header block. Fields that drop reports are left out.
// The strings of the result share the memory of block.
func parseHeaders(block string, maxFields uint64, drop func(string) bool) (map[string]string, error) {
	var store [headerFields]headerField
	fields, err := parseFields(store[:0], block, maxFields)
	if err != nil {
		return nil, err
	}
	h := make(map[string]string, len(fields)+1) // one more: the server adds who calls
	dropped := 0
	for _, f := range fields {
		if drop(f.name) {
			dropped++
			continue
		}
		h[f.name] = f.value
	}
	if len(h)+dropped != len(fields) {
		return nil, fmt.Errorf("%w: a header comes twice", ErrMalformed)
	}
	return h, nil
}

func parseFields(fields []headerField, block string, maxFields uint64) ([]headerField, error) {
	for len(block) > 0 {
		if uint64(len(fields)) >= maxFields {
			return nil, fmt.Errorf("%w: more than %d headers", ErrTooLarge, maxFields)
		}
		tag, rest, ok := cutVarint(block)
		if !ok {
			return nil, fmt.Errorf("%w: header name", ErrMalformed)
		}
		var f headerField
		if tag&1 == 1 {
			if tag>>1 >= uint64(len(staticNames)) {
				return nil, fmt.Errorf("%w: unknown header name code %d", ErrMalformed, tag>>1)
			}
			f.name = staticNames[tag>>1]
		} else {
			if tag>>1 > uint64(len(rest)) {
				return nil, fmt.Errorf("%w: header name overruns the block", ErrMalformed)
			}
			f.name, rest = rest[:tag>>1], rest[tag>>1:]
			if staticCode(f.name) >= 0 {
				return nil, fmt.Errorf("%w: header name spelled out that has a code", ErrMalformed)
			}
		}
		n, rest, ok := cutVarint(rest)
		if !ok || n > uint64(len(rest)) {
			return nil, fmt.Errorf("%w: header value", ErrMalformed)
		}
		f.value, block = rest[:n], rest[n:]
		fields = append(fields, f)
	}
	return fields, nil
}

// cutVarint takes a variable-length integer in its shortest form off s.
func cutVarint(s string) (v uint64, rest string, ok bool) {
	if len(s) == 0 {
		return 0, "", false
	}
	n := 1 << (s[0] >> 6)
	if n > len(s) {
		return 0, "", false
	}
	v = uint64(s[0] & 0x3f)
	for i := 1; i < n; i++ {
		v = v<<8 | uint64(s[i])
	}
	if quicvarint.Len(v) != n {
		return 0, "", false
	}
	return v, s[n:], true
}
