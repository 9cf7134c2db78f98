package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"go-micro.dev/v4/logger"

	"github.com/go-signet/signet/internal/leaktest"
)

func TestMain(m *testing.M) {
	_ = logger.DefaultLogger.Init(logger.WithLevel(logger.FatalLevel)) // only sets a field
	leaktest.Main(m)
}

// TestStory: the whole run keeps its promises, tells every attack, and leaves
// nothing behind.
func TestStory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("SIGNET_IDENTITY", "/nowhere") // the story must not depend on it
	var out bytes.Buffer
	if status := run(t.Context(), &out, options{chapters: chapters()}); status != 0 {
		t.Errorf("exit status %d", status)
	}
	text := strings.Join(strings.Fields(out.String()), " ") // without the line breaks
	for _, want := range []string{
		`the answer is "Hello John"`,
		"the handler knows that spiffe://shop.internal/caller called",
		"every message of the stream was answered in its turn",
		"⚔ a client that was given no identity ✓ refused, and no handler ran",
		"⚔ a client without a certificate ✓ refused, and no handler ran",
		"with a certificate from another authority ✓ refused, and no handler ran",
		"⚔ a client whose certificate expired yesterday ✓ refused, and no handler ran",
		"✓ its open stream is cut",
		"⚔ the laptop calls again, with its revoked certificate ✓ refused, and no handler ran",
		"⚔ billing answers in greeter's place ✓ refused, and no handler ran",
		"⚔ caller writes the admin's name into its metadata",
		"⚔ caller sends the headers that were stolen from the admin's call",
		"✓ 8 calls of 8 reached greeter ✓ the entry is left out: unsigned",
		"✓ the attack is real: a client of the bare registry calls the rogue",
		"✓ 8 calls of 8 reached greeter ✓ the entry is left out: unauthorised",
		"✓ 8 calls of 8 reached greeter ✓ the entry is left out: altered",
		"⚔ somebody puts the old entry in its place, whose signature is good and has not expired ✓ refused, and no handler ran",
		"✓ the entry is left out: replayed",
		"⚔ billing listens at the very address that greeter has signed ✓ refused, and no handler ran",
		"operator │ orders.created, ",
		"billing │ order 1: 3 books for John; from spiffe://shop.internal/shop",
		"✓ the operator could not: topic, size, time and publisher are in clear, the order is not",
		"changes one bit of it, and delivers that ✓ refused, and no subscriber ran: tampered",
		"⚔ then that order unchanged, but as orders.cancelled ✓ refused, and no subscriber ran: tampered",
		"⚔ then the same once more ✓ refused, and no subscriber ran: replay",
		"⚔ then the same order in clear ✓ refused, and no subscriber ran: unsealed",
		"seals one as if it were shop ✓ refused, and no subscriber ran: tampered",
		"✓ the attack is real: shipping takes its own forgery for shop's",
		"✓ its own library refuses to ⚔ it gives itself another rule ✓ refused, and no subscriber ran: publisher",
		"straight to billing's server ✓ refused, and no subscriber ran: unsealed",
		"✓ after all of that the next order arrives",
		"✓ billing reads the next order ✓ shipping cannot",
		"✓ the attack is real: it makes greeter greet somebody else",
		"✓ the proxy saw neither the name nor the answer",
		"⚔ the proxy changes one bit of the request ✓ refused, and no handler ran",
		"⚔ the proxy makes up a request in clear ✓ refused, and no handler ran",
		"⚔ the proxy sends the first request again ✓ refused, and no handler ran",
		"⚔ the proxy makes up an answer ✓ the caller does not take it for greeter's",
		"⚔ a client without the codec calls, in clear ✓ refused, and no handler ran",
		"key exchange X25519MLKEM768, protocol signet/1, no server name",
		"nor any part of either certificate",
		`{"name":"John"}`,
		"calls per second",
		"promises, all kept",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the story does not tell %q", want)
		}
	}
	for _, never := range []string{"✗", "PRIVATE KEY", "\x1b["} {
		if strings.Contains(text, never) {
			t.Errorf("%q is in the story", never)
		}
	}
	if t.Failed() {
		t.Logf("\n%s", out.String())
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// TestBrokenPromise: whatever goes wrong shows in the exit status.
func TestBrokenPromise(t *testing.T) {
	failing := func(err error) func(context.Context) error {
		return func(context.Context) error { return err }
	}
	for name, c := range map[string]struct {
		run  func(context.Context, *stage) error
		want string
	}{
		"promise": {
			func(_ context.Context, s *stage) error {
				s.promise("the sun rises in the west", false, "it did not")
				return nil
			},
			"BROKEN PROMISE: the sun rises in the west",
		},
		"chapter": {
			func(context.Context, *stage) error { return errors.New("no port is free") },
			"no port is free",
		},
		"ending": {
			func(_ context.Context, s *stage) error {
				s.promise("all well so far", true, "")
				s.atEnd(func() error { return errors.New("does not stop") })
				return nil
			},
			"does not stop",
		},
		"nothing promised": {
			func(context.Context, *stage) error { return nil },
			"nothing was checked",
		},
		"attack succeeds": {
			func(ctx context.Context, s *stage) error {
				s.repel(ctx, attack{what: "a thief", reason: "refused", try: failing(nil)})
				return nil
			},
			"the call went through",
		},
		"attack fails by accident": {
			func(ctx context.Context, s *stage) error {
				s.repel(ctx, attack{what: "a thief", reason: "refused", try: failing(errors.New("stumbled"))})
				return nil
			},
			"another reason",
		},
		"handler runs before the refusal": {
			func(ctx context.Context, s *stage) error {
				g := new(Greeter)
				s.repel(ctx, attack{what: "a thief", reason: "refused", spared: []*Greeter{g}, try: func(ctx context.Context) error {
					var rsp Response
					return errors.Join(g.Hello(ctx, &Request{}, &rsp), errors.New("refused"))
				}})
				return nil
			},
			"a handler ran 1 times",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if status := run(t.Context(), &out, options{chapters: []chapter{{"Test", c.run}}}); status != 1 {
				t.Errorf("exit status %d, want 1", status)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%q is not in:\n%s", c.want, out.String())
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if status := run(ctx, new(bytes.Buffer), options{chapters: chapters()}); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
	})
}

// TestWrap: lines stay within the columns, and no word is lost.
func TestWrap(t *testing.T) {
	text := "one two three fourfive six"
	lines := wrap(text, 9)
	if got := strings.Join(lines, " "); got != text {
		t.Errorf("got %q", got)
	}
	for _, line := range lines {
		if len(line) > 9 {
			t.Errorf("%q is longer than 9", line)
		}
	}
}
