package envelope

import "testing"

// TestExport: sender and recipients derive the same keys, of each epoch others, and
// for each use another.
func TestExport(t *testing.T) {
	sender, to := newParty(t, "shop"), newParties(t, 2)
	e := newEpoch(t, params(sender, to...))
	raw := seal(t, e, message("hello"), true)
	want, err := e.Export([]byte("answers"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range to {
		if got, err := newReader(t, raw, p).Export([]byte("answers")); err != nil || got != want {
			t.Errorf("%s derives another key; error: %v", p.id, err)
		}
	}
	if other, err := e.Export([]byte("questions")); err != nil || other == want {
		t.Errorf("two uses share a key; error: %v", err)
	}
	if other, err := newEpoch(t, params(sender, to...)).Export([]byte("answers")); err != nil || other == want {
		t.Errorf("two epochs share a key; error: %v", err)
	}
}

// TestBinding: each message has its own, and both sides find the same.
func TestBinding(t *testing.T) {
	sender := newParty(t, "shop")
	signed := params(sender, newParties(t, 2)...)
	signed.Sign = func(digest []byte) ([]byte, error) { return digest[:7], nil }
	for name, p := range map[string]*Params{
		"pairwise": params(sender, newParty(t, "billing")), "tagged": params(sender, newParties(t, 3)...), "signed": signed,
	} {
		e := newEpoch(t, p)
		seen := make(map[[BindingSize]byte]bool)
		for i := range 3 {
			raw := seal(t, e, message("hello"), i == 0)
			parsed, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Binding() != e.Binding(raw) {
				t.Errorf("%s: the sender's differs from the recipient's", name)
			}
			seen[parsed.Binding()] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s: 3 messages have %d bindings", name, len(seen))
		}
	}
}
