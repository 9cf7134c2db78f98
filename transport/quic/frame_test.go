package quic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-signet/signet/internal/caller"
	"github.com/google/go-cmp/cmp"
	"go-micro.dev/v4/transport"
	"pgregory.net/rapid"
)

var defaultLimits = Limits{}.withDefaults().message()

// encode is a message as it is written, large body included.
func encode(t testing.TB, m *transport.Message) []byte {
	t.Helper()
	b, start, err := appendMessage(nil, m, m.Body, false, defaultLimits, caller.Reserved)
	if err != nil {
		t.Fatal(err)
	}
	b = b[start:]
	if len(m.Body) > inlineBody {
		b = append(b, m.Body...)
	}
	return b
}

func decode(b []byte, lim messageLimits) (transport.Message, *messageReader, error) {
	d := &messageReader{r: bytes.NewReader(b), lim: lim}
	var m transport.Message
	err := d.read(&m)
	return m, d, err
}

func genMessage(t *rapid.T) *transport.Message {
	name := rapid.OneOf(rapid.SampledFrom(staticNames[:]), rapid.String(), rapid.StringN(30, 100, -1))
	h := rapid.MapOfN(name, rapid.String(), 0, 40).Draw(t, "header")
	maps.DeleteFunc(h, func(k, _ string) bool { return caller.Reserved(k) })
	sizes := rapid.OneOf(rapid.IntRange(0, 100), rapid.SampledFrom([]int{readAhead - 1, readAhead, inlineBody, inlineBody + 1, 70_000}))
	body := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, sizes.Draw(t, "size"))
	return &transport.Message{Header: h, Body: body}
}

// TestRoundTrip: whatever is sent arrives, however the network cuts it up.
func TestRoundTrip(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"halves":        iotest.HalfReader,
		"EOF with data": iotest.DataErrReader,
	}
	for name, wrap := range readers {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var wire bytes.Buffer
				var sent []*transport.Message
				for range rapid.IntRange(1, 4).Draw(t, "messages") {
					m := genMessage(t)
					sent = append(sent, m)
					b, start, err := appendMessage(nil, m, m.Body, false, defaultLimits, caller.Reserved)
					if err != nil {
						t.Fatal(err)
					}
					wire.Write(b[start:])
					if len(m.Body) > inlineBody {
						wire.Write(m.Body)
					}
				}
				d := &messageReader{r: wrap(&wire), lim: defaultLimits}
				for _, want := range sent {
					var got transport.Message
					if err := d.read(&got); err != nil {
						t.Fatal(err)
					}
					if !maps.Equal(got.Header, want.Header) || !bytes.Equal(got.Body, want.Body) {
						t.Fatalf("got %v and %d bytes, want %v and %d bytes", got.Header, len(got.Body), want.Header, len(want.Body))
					}
				}
				var m transport.Message
				if err := d.read(&m); err != io.EOF || !d.clean() {
					t.Fatalf("at the end: %v, want io.EOF", err)
				}
			})
		})
	}
}

// TestStaticTable: the switch and the table agree, and neither holds a reserved
// name.
func TestStaticTable(t *testing.T) {
	for c, name := range staticNames {
		if got := staticCode(name); got != c {
			t.Errorf("staticCode(%q) = %d, want %d", name, got, c)
		}
		if caller.Reserved(name) {
			t.Errorf("%q is reserved", name)
		}
	}
	if got := staticCode("Micro-Unknown"); got != -1 {
		t.Errorf("staticCode of an unknown name = %d, want -1", got)
	}
}

// TestSpecPage: the numbers of spec/transport.md are those of the code.
func TestSpecPage(t *testing.T) {
	raw, err := os.ReadFile("../../spec/transport.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	l := Limits{}.withDefaults()
	want := []string{
		"`" + alpn + "`",
		fmt.Sprintf("header block %d bytes, %d headers", l.HeaderBytes, l.Headers),
		fmt.Sprintf("body %d bytes", l.Body),
		fmt.Sprintf("| %#02x | unidirectional", streamTypeControl),
		fmt.Sprintf("| 0x%02x | bidirectional", streamTypeMessages),
		fmt.Sprintf("A payload has at most %d bytes", maxControlPayload),
		fmt.Sprintf("| 0x%02x | READY", frameReady),
		fmt.Sprintf("| 0x%02x | GOAWAY", frameGoAway),
		fmt.Sprintf("| 0x%02x * | nothing went wrong", codeDone),
		fmt.Sprintf("| 0x%02x | the peer is not authorized", codeUnauthorized),
		fmt.Sprintf("| 0x%02x | a certificate behind the connection expired", codeExpired),
		fmt.Sprintf("| 0x%02x | the peer is no longer trusted", codeRevoked),
		fmt.Sprintf("| 0x%02x * | the peer broke this specification", codeProtocol),
		"Names that begin with `" + caller.Header + "`",
	}
	want[3] = fmt.Sprintf("| 0x%02x | unidirectional", streamTypeControl)
	for c, name := range staticNames {
		want = append(want, fmt.Sprintf("| %d | %s |", c, name))
	}
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
	if strings.Contains(page, fmt.Sprintf("| %d | ", len(staticNames))) {
		t.Errorf("the page has more table entries than the code")
	}
}

// TestGrowth: the memory taken stays within a factor of what has arrived.
func TestGrowth(t *testing.T) {
	const announced = 8 << 20
	for _, arrived := range []int{1, 100, 5000, 100_000, 1 << 20} {
		r := &countingReader{left: arrived}
		d := &messageReader{r: io.MultiReader(bytes.NewReader(appendVarints(nil, 0, announced)), r), lim: defaultLimits}
		var m transport.Message
		if err := d.read(&m); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes of %d: %v", arrived, announced, err)
		}
		if r.asked > growth*max(arrived, readAhead) {
			t.Errorf("%d bytes had arrived when a read of %d was tried", arrived, r.asked)
		}
	}
}

// countingReader gives left bytes and notes the largest buffer it was offered.
type countingReader struct{ left, asked int }

func (r *countingReader) Read(p []byte) (int, error) {
	r.asked = max(r.asked, len(p))
	if r.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), r.left)
	r.left -= n
	return n, nil
}

// TestSendLimits: a message that the peer would refuse is not sent, and the
// error says which limit it is.
func TestSendLimits(t *testing.T) {
	lim := messageLimits{headerBytes: 100, headers: 2, bodyBytes: 10}
	for name, m := range map[string]*transport.Message{
		"Limits.Body":        {Body: make([]byte, 11)},
		"Limits.HeaderBytes": {Header: map[string]string{"k": strings.Repeat("v", 100)}},
		"Limits.Headers":     {Header: map[string]string{"a": "", "b": "", "c": ""}},
	} {
		_, _, err := appendMessage(nil, m, m.Body, true, lim, caller.Reserved)
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestReservedNames: what would pass for a verified caller is neither sent nor
// taken.
func TestReservedNames(t *testing.T) {
	forged := map[string]string{
		caller.Header:                  "x",
		strings.ToLower(caller.Header): "x",
		strings.ToUpper(caller.Header): "x",
		"ſignet-caller":                "x",
		"kept":                         "y",
	}
	want := map[string]string{"kept": "y"}
	m, _, err := decode(encode(t, &transport.Message{Header: forged}), defaultLimits)
	if err != nil || !maps.Equal(m.Header, want) {
		t.Errorf("sending: got %v, %v", m.Header, err)
	}
	block := []byte(nil)
	for k, v := range forged {
		block = appendField(block, k, v)
	}
	m, _, err = decode(append(appendVarints(nil, uint64(len(block)), 0), block...), defaultLimits)
	if err != nil || !maps.Equal(m.Header, want) {
		t.Errorf("receiving: got %v, %v", m.Header, err)
	}
}

// FuzzMessage: no input panics; what is accepted re-encodes to the same bytes
// and is within the limits.
func FuzzMessage(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add(v.wire())
	}
	lim := messageLimits{headerBytes: 4 << 10, headers: 50, bodyBytes: 64 << 10}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, d, err := decode(b, lim)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		rest := d.end - d.start
		if r, ok := d.r.(*bytes.Reader); ok {
			rest += r.Len()
		}
		accepted := b[:len(b)-rest]
		headerLen, tail, _ := cutVarint(string(accepted))
		bodyLen, tail, _ := cutVarint(tail)
		if headerLen > lim.headerBytes || bodyLen > lim.bodyBytes || uint64(len(m.Body)) != bodyLen || uint64(len(m.Header)) > lim.headers {
			t.Fatalf("beyond the limits: header %d, body %d", headerLen, bodyLen)
		}
		fields, err := parseFields(nil, tail[:headerLen], lim.headers)
		if err != nil {
			t.Fatal(err)
		}
		var block []byte
		want := map[string]string{}
		for _, f := range fields {
			block = appendField(block, f.name, f.value)
			if !caller.Reserved(f.name) {
				want[f.name] = f.value
			}
		}
		again := append(appendVarints(nil, uint64(len(block)), uint64(len(m.Body))), block...)
		if again = append(again, m.Body...); !bytes.Equal(again, accepted) {
			t.Fatalf("accepted %x, encodes as %x", accepted, again)
		}
		if !reflect.DeepEqual(m.Header, want) {
			t.Fatal(cmp.Diff(want, m.Header))
		}
	})
}
