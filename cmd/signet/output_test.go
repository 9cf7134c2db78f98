package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/internal/udp"
)

func TestCardIsNotForTerminals(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "greeter")
	mustRun(t, "init", "--trust-domain", "shop.internal", root)
	mustRun(t, "issue", "--keys", root, "greeter")
	onTerminal := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(args, &session{stdout: &out, stderr: &errs, terminal: true, getenv: func(string) string { return "" }})
		return code, out.String(), errs.String()
	}
	code, stdout, stderr := onTerminal("card", dir)
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "greeter.card") {
		t.Errorf("exit code %d, stdout %q, stderr %q: want a refusal that says how", code, stdout, stderr)
	}
	if code, stdout, _ := onTerminal("card", dir, "--json"); code != exitOK || !strings.Contains(stdout, `"card"`) {
		t.Errorf("JSON: exit code %d, stdout %q", code, stdout)
	}
}

func TestUDPBuffers(t *testing.T) {
	const enough = udp.BufferSize
	for _, test := range []struct {
		name   string
		goos   string
		got    buffers
		err    error
		status []status
		remedy string
	}{
		{"enough", "linux", buffers{enough, enough}, nil, []status{ok, ok}, ""},
		{"small receive buffer", "linux", buffers{enough - 1, enough}, nil, []status{warn, ok}, "sysctl -w net.core.rmem_max=7340032"},
		{"small send buffer", "linux", buffers{enough, 212992}, nil, []status{ok, warn}, "sysctl -w net.core.wmem_max=7340032"},
		{"elsewhere", "darwin", buffers{enough, 9216}, nil, []status{ok, warn}, "raise the system's limit"},
		{"unknown", "linux", buffers{}, errors.New("not told"), []status{warn}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r report
			checkUDPBuffers(&r, test.goos, func() (buffers, error) { return test.got, test.err })
			remedies := ""
			for i, c := range r.checks {
				if i >= len(test.status) || c.Status != test.status[i] {
					t.Errorf("check %d: %+v", i, c)
				}
				remedies += c.Remedy
			}
			if len(r.checks) != len(test.status) || !strings.Contains(remedies, test.remedy) {
				t.Errorf("%+v", r.checks)
			}
		})
	}
}

func TestMDNSPacket(t *testing.T) {
	for _, test := range []struct {
		name string
		size int
		want status
	}{
		{"one frame", mdnsFrame, ok},
		{"fragments", mdnsFrame + 1, note},
		{"largest", mdnsPacket, note},
		{"too large", mdnsPacket + 1, warn},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r report
			judgeMDNS(&r, test.size)
			if len(r.checks) != 1 || r.checks[0].Status != test.want || (r.checks[0].Remedy != "") != (test.want == warn) {
				t.Errorf("%+v: want %s", r.checks, test.want)
			}
		})
	}
}

// The bounds are those of the package that registers.
func TestMDNSBounds(t *testing.T) {
	source, err := os.ReadFile("../../registry/signed/mdnssize.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("mdnsFrame  = %d\n", mdnsFrame), fmt.Sprintf("mdnsPacket = %d\n", mdnsPacket)} {
		if !strings.Contains(string(source), want) {
			t.Errorf("registry/signed has another bound than %q", want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"Grüße, “quoted”'": "Grüße, “quoted”'",
		"a\x1b[2Jb":        `a\x1b[2Jb`,
		"a\nb\tc":          `a\nb\tc`,
		"a\x9bb":           `a\ufffdb`,
		"a\u202eb":         `a\u202eb`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"keys/greeter": "keys/greeter",
		"my keys":      "'my keys'",
		"it's":         `'it'\''s'`,
		"$(reboot)":    "'$(reboot)'",
		"":             "''",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[time.Duration]string{
		time.Second:               "1 second",
		90 * time.Second:          "90 seconds",
		2 * time.Minute:           "2 minutes",
		90 * time.Minute:          "90 minutes",
		24 * time.Hour:            "24 hours",
		30 * 24 * time.Hour:       "30 days",
		10 * 365 * 24 * time.Hour: "10 years",
	} {
		if got := span(in); got != want {
			t.Errorf("span(%v) = %q, want %q", in, got, want)
		}
	}
}
