package envelope

import (
	"bytes"
	"testing"
)

// FuzzParse: nothing panics, and what is accepted is the only encoding of itself.
func FuzzParse(f *testing.F) {
	sender, to := newParty(f, "shop"), newParties(f, 3)
	for _, n := range []int{1, 3} {
		e := newEpoch(f, params(sender, to[:n]...))
		f.Add(seal(f, e, message("hello"), true))
		f.Add(seal(f, e, message(""), false))
	}
	p := params(sender, to[0])
	p.Suite, p.Credential = PQAES256GCM, []byte("a card")
	e := newEpoch(f, p)
	f.Add(seal(f, e, message("hello"), true))
	inline, err := e.Inline(seal(f, e, message("hello"), false))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(inline)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			return
		}
		for name := range e.ClearNames() {
			if len(name) == 0 || len(name) > MaxHeaderName {
				t.Errorf("a clear header's name of %d bytes", len(name))
			}
		}
		out := bytes.Clone(e.prefix)
		if e.Header != nil {
			if h, err := ParseHeader(e.Header); err == nil {
				if again := h.encode(); !bytes.Equal(again, e.Header) {
					t.Errorf("header %x encodes as %x", e.Header, again)
				}
			}
			out = appendSized(out, e.Header)
			out = appendSized(out, e.Grants)
		}
		out = appendSized(out, e.ciphertext)
		if out = append(out, e.Proof...); !bytes.Equal(out, data) {
			t.Errorf("%x encodes as %x", data, out)
		}
		if e.Header != nil {
			lean, err := Parse(without(t, data))
			if err != nil || lean.Header != nil || lean.Binding() != e.Binding() || !bytes.Equal(lean.Proof, e.Proof) {
				t.Errorf("without its epoch %x is another message: %v", data, err)
			}
		}
		if _, err := unwrapAs(e, to[0]); err == nil && e.Epoch == ([EpochIDSize]byte{}) {
			t.Error("an epoch of zeros opens")
		}
	})
}

// FuzzPlaintext: nothing panics, and what is accepted is the only encoding of itself.
func FuzzPlaintext(f *testing.F) {
	for _, m := range []*Message{message("hello"), message(""), {Padding: 9}} {
		f.Add(m.append(make([]byte, 0, m.size())))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parsePlaintext(data)
		if err != nil {
			return
		}
		m := &Message{Time: o.Time, Body: o.Body}
		for name, value := range o.Headers() {
			m.Headers = append(m.Headers, Field{name, value})
		}
		m.Padding = len(data) - m.size() // the rest, but for the length of its length
		for m.Padding > 0 && m.size() > len(data) {
			m.Padding--
		}
		if again := m.append(make([]byte, 0, m.size())); !bytes.Equal(again, data) {
			t.Errorf("%x encodes as %x", data, again)
		}
	})
}
