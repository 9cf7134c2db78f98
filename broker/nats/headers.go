package nats

import (
	"strings"
	"unicode"
	"unicode/utf8"

	natsgo "github.com/nats-io/nats.go"
)

// msgIDHeader has the ID by which a stream knows a message that comes again.
const msgIDHeader = "Nats-Msg-Id"

// fewHeaders is up to how many are compared pair by pair.
const fewHeaders = 16

// pack puts headers into to. A header that some NATS client on the way could change, or
// that NATS would take for an instruction, goes into Signet-Headers.
func (o *outgoing) pack(from map[string]string) error {
	if len(from) > maxHeaders {
		return invalidf("%d headers: want at most %d", len(from), maxHeaders)
	}
	if need := len(from) + 2; cap(o.values) < need {
		o.values = make([]string, 0, need)
	}
	for name, value := range from {
		if !plainName(name) || !plainValue(value) {
			o.odd = append(o.odd, name)
			continue
		}
		if twin, ok := o.twin(name, len(from)); ok {
			// A client that ignores case would make one header of the two.
			if _, native := o.header[twin]; native {
				delete(o.header, twin)
				o.odd = append(o.odd, twin)
			}
			o.odd = append(o.odd, name)
			continue
		}
		o.set(name, value)
	}
	if len(o.odd) == 0 {
		return nil
	}
	encoded, err := encodeOdd(o.odd, from)
	if err != nil {
		return err
	}
	o.set(oddHeader, encoded)
	return nil
}

// set adds a header without an allocation of its own.
func (o *outgoing) set(name, value string) {
	o.values = append(o.values, value)
	n := len(o.values)
	o.header[name] = o.values[n-1 : n : n]
}

// twin returns a name that was passed here before and differs in case only.
func (o *outgoing) twin(name string, total int) (string, bool) {
	if total > fewHeaders {
		lower := strings.ToLower(name)
		if o.lower == nil {
			o.lower = make(map[string]string, total)
		}
		if twin, ok := o.lower[lower]; ok {
			return twin, true
		}
		o.lower[lower] = name
		return "", false
	}
	for _, seen := range o.names[:o.seen] {
		if len(seen) == len(name) && strings.EqualFold(seen, name) {
			return seen, true
		}
	}
	o.names[o.seen] = name
	o.seen++
	return "", false
}

// unpack returns the headers of a message, never nil.
func unpack(m *natsgo.Msg) (map[string]string, error) {
	if len(m.Header) == 0 {
		// nats.go delivers a message whose headers it cannot read without them.
		if m.Header == nil && m.Size() != len(m.Subject)+len(m.Reply)+len(m.Data) {
			return nil, malformedf("not NATS/1.0 headers")
		}
		return map[string]string{}, nil
	}
	if len(m.Header) > maxHeaders {
		return nil, malformedf("%d headers, more than %d", len(m.Header), maxHeaders)
	}
	h := make(map[string]string, len(m.Header))
	for name, values := range m.Header {
		if len(values) == 0 || name == oddHeader || ofNATS(name) {
			continue
		}
		h[name] = values[0]
	}
	odd, ok := m.Header[oddHeader]
	if !ok {
		return h, nil
	}
	if len(odd) != 1 {
		return nil, malformedf("%d headers %s", len(odd), oddHeader)
	}
	if err := decodeOdd(odd[0], h); err != nil {
		return nil, err
	}
	return h, nil
}

// plainName reports whether a name may be that of a NATS header.
func plainName(name string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		if !tokenChar[name[i]] {
			return false
		}
	}
	// A message without a body and with a status is one of NATS's own to its clients.
	return !ofNATS(name) && !strings.EqualFold(name, "Status") && !strings.EqualFold(name, "Description") &&
		!strings.EqualFold(name, oddHeader)
}

// ofNATS reports whether a name is one of those that tell NATS what to do with a message,
// or that it adds. They are not delivered: go-micro would copy them from the message that
// a handler gets to those that it publishes.
func ofNATS(name string) bool {
	return len(name) >= 5 && strings.EqualFold(name[:5], "Nats-")
}

// plainValue reports whether a value may be that of a NATS header: UTF-8 without control
// characters, and no space at its ends. An empty one may.
func plainValue(value string) bool {
	if value == "" {
		return true
	}
	if value[0] == ' ' || value[len(value)-1] == ' ' {
		return false
	}
	ascii := true
	for i := range len(value) {
		c := value[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return true
	}
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	return utf8.ValidString(value) && !trimmed(first) && !trimmed(last)
}

// trimmed reports whether a client in some language trims a character off a value.
func trimmed(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\ufeff' }

// tokenChar are the characters of a token of RFC 9110, section 5.6.2, which are those
// that nats.go takes in a name.
var tokenChar = func() (set [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		set[c] = !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c))
	}
	return set
}()
