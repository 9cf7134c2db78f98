package quic

import (
	"strings"
	"testing"
	"unicode"

	quicgo "github.com/quic-go/quic-go"
)

// TestForeignText: the reason phrase of a peer, which may be anybody before the
// handshake is over, neither breaks the lines of a log nor fills it.
func TestForeignText(t *testing.T) {
	for name, phrase := range map[string]string{
		"lines":            "gone\n2026/01/01 INFO all is well",
		"terminal escapes": "\x1b[2J\x1b]0;owned\x07",
		"no UTF-8":         "\xff\xfe",
		"direction":        "\u202egnihton",
		"long":             strings.Repeat("long ", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			cause := &quicgo.TransportError{Remote: true, ErrorCode: quicgo.InternalError, ErrorMessage: phrase}
			for _, err := range []error{
				explainDial("127.0.0.1:1", cause),
				explainLoss("127.0.0.1:1", "spiffe://shop.internal/greeter", cause),
			} {
				text := err.Error()
				if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("got %.500q", text)
				}
			}
		})
	}
	if got := printable("plain words, as they are: 1 < 2"); got != "plain words, as they are: 1 < 2" {
		t.Errorf("got %q", got)
	}
}
