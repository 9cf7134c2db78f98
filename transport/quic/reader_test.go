package quic

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"go-micro.dev/v4/transport"
)

// TestPartialBudget: messages that have not arrived in full share a bound, a
// message past it is refused, and what they held is given back however they end.
func TestPartialBudget(t *testing.T) {
	const body = 1 << 20
	whole := append(appendVarints(nil, 0, body), make([]byte, body)...)
	budget := &partialBudget{total: 2 << 20}
	reader := func(r io.Reader) *messageReader {
		return &messageReader{r: r, lim: defaultLimits, partial: budget}
	}
	var m transport.Message

	arriving, more := io.Pipe()
	held := make(chan error, 1)
	go func() {
		var m transport.Message
		held <- reader(arriving).read(&m)
	}()
	if _, err := more.Write(whole[:body-1]); err != nil { // all but what makes it complete
		t.Fatal(err)
	}
	if got := budget.held.Load(); got < body {
		t.Fatalf("a message of %d bytes that is nearly there is counted as %d", body, got)
	}
	if err := reader(bytes.NewReader(whole)).read(&m); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a second one: got %v, want ErrTooLarge", err)
	}
	small := &transport.Message{Body: []byte("small")}
	if err := reader(bytes.NewReader(encode(t, small))).read(&m); err != nil || string(m.Body) != "small" {
		t.Fatalf("a small one: got %q, %v", m.Body, err)
	}
	if _, err := more.Write(whole[body-1:]); err != nil {
		t.Fatal(err)
	}
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	if err := reader(bytes.NewReader(whole[:body])).read(&m); err != io.ErrUnexpectedEOF {
		t.Fatalf("one that is cut short: got %v", err)
	}
	if err := reader(bytes.NewReader(whole)).read(&m); err != nil || len(m.Body) != body {
		t.Fatalf("afterwards: got %d bytes, %v", len(m.Body), err)
	}
	if got := budget.held.Load(); got != 0 {
		t.Errorf("%d bytes are still counted when nothing is under way", got)
	}
}
