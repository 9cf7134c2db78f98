package quic

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"testing"

	"github.com/quic-go/quic-go/quicvarint"
)

// vector is an entry of testdata/vectors/transport.json.
type vector struct {
	Name   string            `json:"name"`
	Hex    string            `json:"hex"`
	Class  string            `json:"class"` // "ok", or why it is refused
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"` // hex
	Limits *struct {
		HeaderBytes uint64 `json:"header_bytes"`
		Headers     uint64 `json:"headers"`
		BodyBytes   uint64 `json:"body_bytes"`
	} `json:"limits,omitempty"`
}

func (v vector) wire() []byte {
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		panic("vector " + v.Name + ": " + err.Error())
	}
	return b
}

func loadVectors(t testing.TB) []vector {
	raw, err := os.ReadFile("../../testdata/vectors/transport.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Version string   `json:"version"`
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if file.Version != alpn || len(file.Vectors) == 0 {
		t.Fatalf("%d vectors of version %q", len(file.Vectors), file.Version)
	}
	return file.Vectors
}

func TestVectors(t *testing.T) {
	classes := map[string]error{
		"malformed": ErrMalformed,
		"too-large": ErrTooLarge,
		"truncated": io.ErrUnexpectedEOF,
	}
	seen := map[string]bool{}
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			seen[v.Class] = true
			lim := defaultLimits
			if l := v.Limits; l != nil {
				lim = messageLimits{headerBytes: l.HeaderBytes, headers: l.Headers, bodyBytes: l.BodyBytes}
			}
			m, d, err := decode(v.wire(), lim)
			if v.Class != "ok" {
				if want, known := classes[v.Class]; !known || !errors.Is(err, want) {
					t.Fatalf("got %v, want class %q", err, v.Class)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(m.Header, v.Header) || hex.EncodeToString(m.Body) != v.Body {
				t.Errorf("got %v, %x", m.Header, m.Body)
			}
			if !d.clean() {
				t.Error("bytes are left over")
			}
		})
	}
	for class := range classes {
		if !seen[class] {
			t.Errorf("no vector of class %q", class)
		}
	}
}

func appendVarints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = quicvarint.Append(b, v)
	}
	return b
}
