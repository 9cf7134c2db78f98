package etcd

import (
	"errors"
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"greeter":         "greeter",
		"go.micro.srv.x":  "go.micro.srv.x",
		"a..b":            "a..b",
		"...":             "...",
		".":               "%2E",
		"..":              "%2E%2E",
		"a/b":             "a%2Fb",
		"a%2Fb":           "a%252Fb",
		"a\x00\x1f\x7f":   "a%00%1F%7F",
		"größe café":      "größe café",
		"topic-1234-5678": "topic-1234-5678",
	} {
		got := escape(name)
		if got != want {
			t.Errorf("escape(%q) = %q, want %q", name, got, want)
		}
		if back, ok := unescape(got); !ok || back != name {
			t.Errorf("unescape(%q) = %q, %v, want %q", got, back, ok, name)
		}
	}
}

func TestUnescapeRefusesOtherSpellings(t *testing.T) {
	for _, segment := range []string{"", ".", "..", "a/b", "%61", "%2f", "%2", "%", "%zz", "a\x00", "\xff", strings.Repeat("a", maxName+1), strings.Repeat("%2F", maxName+1)} {
		if name, ok := unescape(segment); ok {
			t.Errorf("unescape(%.20q) = %.20q", segment, name)
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		key, service, id string
		ok               bool
	}{
		{"/p/a/b", "a", "b", true},
		{"/p/a%2Fb/%2E%2E", "a/b", "..", true},
		{"/p/a", "", "", false},
		{"/p/a/", "", "", false},
		{"/p//b", "", "", false},
		{"/p/a/b/c", "", "", false},
		{"/p/../b", "", "", false},
		{"/q/a/b", "", "", false},
		{"", "", "", false},
	} {
		service, id, ok := parseKey("/p/", tt.key)
		if ok != tt.ok || (ok && (service != tt.service || id != tt.id)) {
			t.Errorf("%q: got %q, %q, %v", tt.key, service, id, ok)
		}
	}
}

func TestNamesWithoutAKey(t *testing.T) {
	for what, name := range map[string]string{"empty": "", "long": strings.Repeat("a", maxName+1), "not UTF-8": "\xff"} {
		t.Run(what, func(t *testing.T) {
			if err := checkName("name", name); !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want %v", err, ErrInvalid)
			}
		})
	}
}

func FuzzKey(f *testing.F) {
	f.Add("/p/a/b", "a/b", "..")
	f.Add("/p/%2E/%00", "%", "\x7f")
	f.Fuzz(func(t *testing.T, key, service, id string) {
		if s, i, ok := parseKey("/p/", key); ok && nodeKey("/p/", s, i) != key {
			t.Errorf("%q is the key of %q, %q, whose key is %q", key, s, i, nodeKey("/p/", s, i))
		}
		if checkName("", service) != nil || checkName("", id) != nil {
			return
		}
		made := nodeKey("/p/", service, id)
		if s, i, ok := parseKey("/p/", made); !ok || s != service || i != id {
			t.Errorf("%q of %q, %q is read as %q, %q, %v", made, service, id, s, i, ok)
		}
	})
}
