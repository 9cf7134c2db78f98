package keys_test

import (
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/keys"
)

func TestParseID(t *testing.T) {
	for _, s := range []string{
		"spiffe://shop.internal/greeter",
		"spiffe://shop.internal/go.micro.srv.greeter",
		"spiffe://shop.internal/shop/greeter",
		"spiffe://shop.internal/shop/Greeter-2_b",
		"spiffe://shop.internal/...",
		"spiffe://a/b",
		"spiffe://a-b_c.d/e",
		"spiffe://" + strings.Repeat("a", 255) + "/" + strings.Repeat("b", 255),
	} {
		id, err := keys.ParseID(s)
		if err != nil || id.String() != s {
			t.Errorf("ParseID(%q) = %v, %v", s, id, err)
		}
	}
	for name, s := range map[string]string{
		"empty":                     "",
		"no scheme":                 "shop.internal/greeter",
		"another scheme":            "https://shop.internal/greeter",
		"upper-case scheme":         "SPIFFE://shop.internal/greeter",
		"no trust domain":           "spiffe:///greeter",
		"no service":                "spiffe://shop.internal",
		"empty service":             "spiffe://shop.internal/",
		"trailing slash":            "spiffe://shop.internal/greeter/",
		"empty segment":             "spiffe://shop.internal/a//b",
		"dot segment":               "spiffe://shop.internal/a/./b",
		"parent segment":            "spiffe://shop.internal/a/../b",
		"upper-case trust domain":   "spiffe://Shop.internal/greeter",
		"port":                      "spiffe://shop.internal:443/greeter",
		"user":                      "spiffe://a@shop.internal/greeter",
		"query":                     "spiffe://shop.internal/greeter?a",
		"fragment":                  "spiffe://shop.internal/greeter#",
		"percent-encoding":          "spiffe://shop.internal/a%2Fb",
		"percent-encoded dots":      "spiffe://shop.internal/a/%2e%2e/b",
		"backslash":                 "spiffe://shop.internal/a\\b",
		"control character":         "spiffe://shop.internal/gree\nter",
		"zero byte":                 "spiffe://shop.internal/greeter\x00",
		"space":                     "spiffe://shop.internal/gree ter",
		"not ASCII":                 "spiffe://shop.internal/gr\u00fc\u00dfer",
		"IP address":                "spiffe://10.0.0.1/greeter",
		"leading dot":               "spiffe://.internal/greeter",
		"trailing dot":              "spiffe://shop.internal./greeter",
		"two dots":                  "spiffe://shop..internal/greeter",
		"long service":              "spiffe://a/" + strings.Repeat("b", 256),
		"long service of segments":  "spiffe://a/" + strings.Repeat("b/", 127) + "cc",
		"long trust domain":         "spiffe://" + strings.Repeat("a", 256) + "/b",
		"trust domain is a segment": "spiffe://../b",
	} {
		t.Run(name, func(t *testing.T) {
			id, err := keys.ParseID(s)
			wantError(t, err, keys.ErrInvalidName)
			if id != (keys.ID{}) {
				t.Errorf("with the error came %v", id)
			}
		})
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"greeter":                `"greeter"`,
		"a\n\x1b[31mb":           `"a\n\x1b[31mb"`,
		"\u202egreeter":          `"\u202egreeter"`,
		strings.Repeat("a", 500): `"` + strings.Repeat("a", 64) + `"… (500 bytes)`,
	} {
		if got := keys.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s; want %s", in, got, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://shop.internal/greeter")
	f.Add("spiffe://shop.internal/a/../b")
	f.Add("spiffe://a:1/b%2f?c#d")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := keys.ParseID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Errorf("%q was accepted and became %q", s, id)
		}
		if len(s) > len("spiffe:///")+keys.MaxTrustDomain+keys.MaxService {
			t.Errorf("%d bytes were accepted", len(s))
		}
		if strings.ContainsAny(s, "%?#@\\ \x00\n") || strings.Contains(s, "/../") || strings.Count(s, ":") != 1 {
			t.Errorf("%q was accepted", s)
		}
	})
}
