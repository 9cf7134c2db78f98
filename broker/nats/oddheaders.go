package nats

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
)

// Headers that would not survive as NATS headers travel together in one, whose format is
// in spec/nats.md:
//
//	Signet-Headers: v1.<base64url without padding of the entries>
//	entry = uvarint length of name, name, uvarint length of value, value
//
// with the names in strictly ascending order, so that a set has one encoding only.
const (
	oddHeader  = "Signet-Headers"
	oddVersion = "v1."
	// maxOdd is how many bytes the entries may have together, before base64.
	maxOdd = 64 << 10
	// maxHeaders is how many headers a message may have in all.
	maxHeaders = 1024
)

var oddBase64 = base64.RawURLEncoding.Strict()

// encodeOdd makes the value of Signet-Headers from the headers that names lists, which
// it sorts.
func encodeOdd(names []string, from map[string]string) (string, error) {
	slices.Sort(names)
	size := 0
	for _, name := range names {
		size += len(name) + len(from[name])
		if size > maxOdd {
			return "", invalidf("the headers that NATS cannot carry as they are have more than %d bytes: shorten them, or put them into the body", maxOdd)
		}
	}
	raw := make([]byte, 0, size+2*len(names)*binary.MaxVarintLen16)
	for _, name := range names {
		raw = appendString(raw, name)
		raw = appendString(raw, from[name])
	}
	if len(raw) > maxOdd {
		return "", invalidf("the headers that NATS cannot carry as they are have more than %d bytes: shorten them, or put them into the body", maxOdd)
	}
	value := make([]byte, len(oddVersion)+oddBase64.EncodedLen(len(raw)))
	copy(value, oddVersion)
	oddBase64.Encode(value[len(oddVersion):], raw)
	return string(value), nil
}

// decodeOdd puts the headers of a Signet-Headers value into h, where none of them may be
// yet. It accepts nothing that encodeOdd does not make.
func decodeOdd(value string, h map[string]string) error {
	if len(value) <= len(oddVersion) || value[:len(oddVersion)] != oddVersion {
		return malformedf("%s is not of version 1", oddHeader)
	}
	if len(value) > len(oddVersion)+oddBase64.EncodedLen(maxOdd) {
		return malformedf("%s has %d bytes", oddHeader, len(value))
	}
	// Strict refuses stray bits at the end, and would ignore line breaks, which cannot
	// be in a header.
	raw, err := oddBase64.DecodeString(value[len(oddVersion):])
	if err != nil || oddBase64.EncodedLen(len(raw)) != len(value)-len(oddVersion) {
		return malformedf("%s is not base64url", oddHeader)
	}
	last, first := "", true
	for len(raw) > 0 {
		var name, v string
		var ok bool
		if name, raw, ok = cutString(raw); ok {
			v, raw, ok = cutString(raw)
		}
		switch {
		case !ok:
			return malformedf("%s ends in the middle of an entry", oddHeader)
		case !first && name <= last:
			return malformedf("the names in %s are not in order", oddHeader)
		case len(h) == maxHeaders:
			return malformedf("more than %d headers", maxHeaders)
		}
		if _, twice := h[name]; twice {
			return malformedf("a header is both in %s and beside it", oddHeader)
		}
		h[name] = v
		last, first = name, false
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutString takes a string off the front of b.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > uint64(len(b)-width) {
		return "", nil, false
	}
	if width > 1 && b[width-1] == 0 {
		return "", nil, false // a longer form of a smaller number
	}
	b = b[width:]
	return string(b[:n]), b[n:], true
}

func malformedf(format string, args ...any) error {
	return fmt.Errorf("nats: %w: %w", ErrMalformed, fmt.Errorf(format, args...))
}
