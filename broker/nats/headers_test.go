package nats

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

// sent returns what nats.go would make of headers on the other side: it trims values,
// puts spaces for line breaks, and refuses names.
func sent(t interface{ Fatalf(string, ...any) }, h map[string]string) *natsgo.Msg {
	o := &outgoing{header: natsgo.Header{}}
	if err := o.pack(h); err != nil {
		t.Fatalf("pack %q: %v", h, err)
	}
	m := &natsgo.Msg{Subject: "topic", Header: natsgo.Header{}}
	seen := map[string]bool{}
	for name, values := range o.header {
		if !plainName(name) && name != oddHeader || seen[strings.ToLower(name)] || len(values) != 1 {
			t.Fatalf("%q: NATS is given the header %q: %q", h, name, values)
		}
		seen[strings.ToLower(name)] = true
		v := strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.Trim(values[0], " \t\r\n"))
		m.Header[name] = []string{v}
	}
	return m
}

// TestHeaders is the law that headers survive, byte for byte.
func TestHeaders(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune(" aA:\r\nü-\t\"")), 0, 6, -1),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"Nats-Msg-Id", "nats-msg-id", "Nats-Rollup", "Status", "description", oddHeader, "signet-headers"}))
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.MapOfN(text, text, 0, 2*fewHeaders).Draw(t, "headers")
		before := maps.Clone(h)
		m := sent(t, h)
		if !maps.Equal(h, before) {
			t.Fatal("the map was changed")
		}
		got, err := unpack(m)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, before) {
			t.Fatalf("got %q, want %q", got, before)
		}
	})
}

func TestPlainHeadersStayPlain(t *testing.T) {
	h := map[string]string{"Content-Type": "application/json", "Micro-Topic": "orders", "traceparent": "00-1-2-01", "Empty": "", "Name": "Grüße"}
	if m := sent(t, h); len(m.Header) != len(h) || m.Header[oddHeader] != nil {
		t.Errorf("got %v", m.Header)
	}
}

// TestVariantsOfCase gives NATS at most one spelling of a name, of few and of many.
func TestVariantsOfCase(t *testing.T) {
	for _, more := range []int{0, 2 * fewHeaders} {
		h := map[string]string{"Name": "1", "name": "2", "NAME": "3", "Other": "4"}
		for i := range more {
			h[fmt.Sprint("More-", i)] = ""
		}
		m := sent(t, h)
		if len(m.Header) != len(h)-3+1 || m.Header["Other"] == nil {
			t.Errorf("got %v", m.Header)
		}
		if got, err := unpack(m); err != nil || !maps.Equal(got, h) {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestTooManyHeaders(t *testing.T) {
	many, long := map[string]string{}, map[string]string{" ": strings.Repeat("x", maxOdd)}
	for i := range maxHeaders + 1 {
		many[strings.Repeat("x", i+1)] = ""
	}
	for name, h := range map[string]map[string]string{"many": many, "long": long} {
		if err := (&outgoing{header: natsgo.Header{}}).pack(h); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestRecycledOutgoing keeps nothing of the message before.
func TestRecycledOutgoing(t *testing.T) {
	o := &outgoing{header: natsgo.Header{}}
	for _, h := range []map[string]string{{"A": "1", " ": "2", "B": "3"}, {"a": "1"}, {}} {
		if err := o.pack(h); err != nil {
			t.Fatal(err)
		}
		got, err := unpack(&natsgo.Msg{Header: o.header})
		if err != nil || !maps.Equal(got, h) {
			t.Errorf("got %q, %v, want %q", got, err, h)
		}
		o.recycle()
	}
}

// TestOddVector is the example of spec/nats.md.
func TestOddVector(t *testing.T) {
	h := map[string]string{"A ": "1", "": "\r\n"}
	const want = "v1.AAINCgJBIAEx"
	got, err := encodeOdd(slices.Collect(maps.Keys(h)), h)
	if err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// FuzzOdd has what is accepted encode to the same again.
func FuzzOdd(f *testing.F) {
	for _, s := range []string{"", "v1.", "v1.AAINCgJBIAEx", "v1.AUEBQg", "v1.gAAA", "v2.AUEBQg", "v1.AUEBQh", "v1.AUEBQgFBAUI"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := map[string]string{}
		if err := decodeOdd(value, h); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := encodeOdd(slices.Collect(maps.Keys(h)), h)
		if err != nil || again != value {
			t.Errorf("%q was accepted, and encodes as %q, %v", value, again, err)
		}
	})
}
