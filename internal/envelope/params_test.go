package envelope

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"
)

func box25519() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

func TestParamsRefused(t *testing.T) {
	sender, to := newParty(t, "shop"), newParty(t, "billing")
	other, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Params)
		want   error
	}{
		"no recipient":         {func(p *Params) { p.Recipients = nil }, ErrLimit},
		"too many":             {func(p *Params) { p.Recipients = make([]Recipient, MaxRecipients+1) }, ErrLimit},
		"a recipient twice":    {func(p *Params) { p.Recipients = append(p.Recipients, p.Recipients[0]) }, ErrKey},
		"a recipient's no key": {func(p *Params) { p.Recipients[0].Key = nil }, ErrKey},
		"of another curve":     {func(p *Params) { p.Recipients[0].Key = other.PublicKey() }, ErrKey},
		"sender without key":   {func(p *Params) { p.SenderKey = nil }, ErrKey},
		"sender's other curve": {func(p *Params) { p.SenderKey = other }, ErrKey},
		"no sender":            {func(p *Params) { p.Sender = "" }, ErrMalformed},
		"long sender":          {func(p *Params) { p.Sender = strings.Repeat("x", MaxName+1) }, ErrLimit},
		"no scope":             {func(p *Params) { p.Scope = "" }, ErrMalformed},
		"unknown suite":        {func(p *Params) { p.Suite = 5 }, ErrSuite},
		"no suite":             {func(p *Params) { p.Suite = 0 }, ErrSuite},
		"too many messages":    {func(p *Params) { p.Most = MaxMessages + 1 }, ErrLimit},
		"large credential":     {func(p *Params) { p.Credential = make([]byte, MaxCredential+1) }, ErrLimit},
		"ends first":           {func(p *Params) { p.NotAfter = p.Created }, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := params(sender, to)
			tc.change(p)
			if _, err := NewEpoch(p, rand.Reader); !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := NewEpoch(params(sender, to), strings.NewReader("short")); err == nil {
		t.Error("an epoch without randomness")
	}
}

func TestMessageRefused(t *testing.T) {
	e := newEpoch(t, params(newParty(t, "shop"), newParty(t, "billing")))
	for name, tc := range map[string]struct {
		change func(*Message)
		want   error
	}{
		"no topic":           {func(m *Message) { m.Topic = "" }, ErrLimit},
		"long topic":         {func(m *Message) { m.Topic = strings.Repeat("x", MaxTopic+1) }, ErrLimit},
		"clear unsorted":     {func(m *Message) { m.Clear[0], m.Clear[1] = m.Clear[1], m.Clear[0] }, ErrMalformed},
		"clear twice":        {func(m *Message) { m.Clear[1].Name = m.Clear[0].Name }, ErrMalformed},
		"clear without name": {func(m *Message) { m.Clear[0].Name = "" }, ErrLimit},
		"too many clear":     {func(m *Message) { m.Clear = make([]Field, MaxClearHeaders+1) }, ErrLimit},
		"large clear":        {func(m *Message) { m.Clear[1].Value = strings.Repeat("x", MaxClearValues) }, ErrLimit},
		"no header name":     {func(m *Message) { m.Headers[0].Name = "" }, ErrLimit},
		"long header name":   {func(m *Message) { m.Headers[0].Name = strings.Repeat("x", MaxHeaderName+1) }, ErrLimit},
		"too many headers":   {func(m *Message) { m.Headers = make([]Field, MaxHeaders+1) }, ErrLimit},
		"negative padding":   {func(m *Message) { m.Padding = -1 }, ErrLimit},
		"before 1970":        {func(m *Message) { m.Time = time.Unix(-1, 0) }, ErrMalformed},
		"too large":          {func(m *Message) { m.Padding = MaxSize }, ErrLimit},
	} {
		t.Run(name, func(t *testing.T) {
			m := message("x")
			tc.change(m)
			if _, err := e.Seal(nil, m, [RandomSize]byte{}, false); !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
		})
	}
	if e.Left() != MaxMessages {
		t.Errorf("refused messages took %d of the epoch", MaxMessages-e.Left())
	}
}

// TestPadding: messages that are padded to one size have one sealed size.
func TestPadding(t *testing.T) {
	e := newEpoch(t, params(newParty(t, "shop"), newParty(t, "billing")))
	for _, multiple := range []int{1, 2, 64, 100, 128, 256, 4096, 20000} {
		sizes := make(map[int]bool)
		for i := range 400 {
			m := message(strings.Repeat("x", i))
			m.Pad(multiple)
			if m.size()%multiple != 0 || m.Padding > 2*multiple+3 {
				t.Fatalf("%d bytes padded to %d are %d", i, multiple, m.size())
			}
			sizes[len(seal(t, e, m, false))] = true
		}
		if len(sizes) > 2+500/multiple {
			t.Errorf("%d sizes of multiples of %d", len(sizes), multiple)
		}
	}
}
