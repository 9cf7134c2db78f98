package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-signet/signet/identity"
)

func TestCanonicalAddress(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"IPv4", "10.0.0.1:80", "10.0.0.1:80"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"IPv4 in IPv6, as hexadecimal", "[::FFFF:a00:1]:80", "10.0.0.1:80"},
		{"IPv6 in full", "[2001:DB8:0:0:0:0:0:1]:80", "[2001:db8::1]:80"},
		{"the case of a zone counts", "[FE80::1%Eth0]:80", "[fe80::1%Eth0]:80"},
		{"zeros before a port", "10.0.0.1:00080", "10.0.0.1:80"},
		{"the highest port", "10.0.0.1:65535", "10.0.0.1:65535"},
		{"upper case", "Greeter.Shop.Internal:80", "greeter.shop.internal:80"},
		{"final dot", "greeter.shop.internal.:80", "greeter.shop.internal:80"},
		{"brackets round a name", "[greeter]:80", "greeter:80"},
		{"final dot of an IP address", "[::ffff:10.0.0.1.]:80", "10.0.0.1:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := identity.CanonicalAddress(c.addr)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
			if again, err := identity.CanonicalAddress(got); err != nil || again != got {
				t.Errorf("%q is not its own canonical form but %q, %v", got, again, err)
			}
			// It is the form under which the directory keeps it.
			d := newDirectory(t)
			if err := d.Bind(c.addr, greeter, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if _, known := d.Bound(got); !known {
				t.Errorf("%q is not bound as %q", c.addr, got)
			}
		})
	}
	for _, c := range []struct{ name, addr, says string }{
		{"empty", "", "host:port"},
		{"no port", "greeter", "host:port"},
		{"IPv6 without brackets", "2001:db8::1:80", "host:port"},
		{"no host", ":80", "host name"},
		{"a dot for a host", ".:80", "host name"},
		{"port zero", "greeter:0", "port"},
		{"port above 65535", "greeter:65536", "port"},
		{"port by name", "greeter:http", "port"},
		{"port with a sign", "greeter:+80", "port"},
		{"control character", "a\n:80", "ASCII"},
		{"not ASCII", "gr\u00fc\u00df:80", "ASCII"},
		{"two final dots", "greeter..:80", "host name"},
		{"control character in a zone", "[fe80::1%\n]:80", "ASCII"},
		{"a zone of an IPv4 address", "[::ffff:1.2.3.4%e]:80", "zone"},
		{"too long", strings.Repeat("a", 300) + ":80", "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := identity.CanonicalAddress(c.addr)
			wantError(t, err, identity.ErrInvalidName, "address", c.says)
			if got != "" {
				t.Errorf("an error and %q", got)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("the address is not quoted and cut: %q", err)
			}
		})
	}
}
