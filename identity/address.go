package identity

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-signet/signet/internal/keys"
)

// CanonicalAddress brings an address, "host:port", to the one form that stands for
// all of its spellings: host names in lower case without a final dot, IPv6 as RFC
// 5952 has it, IPv4 out of IPv6, ports without leading zeros. The error wraps
// ErrInvalidName.
func CanonicalAddress(addr string) (string, error) { return canonical(addr) }

// canonical brings an address to the one form under which it is kept.
func canonical(addr string) (string, error) {
	const most = 300 // a host of 253 bytes, an IPv6 zone or a port, and brackets
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("identity: %w: address %s: %s", ErrInvalidName, keys.Quote(addr), why)
	}
	if len(addr) > most {
		return bad("too long")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return bad("want host:port")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return bad("want a port from 1 to 65535")
	}
	host = strings.TrimSuffix(host, ".")
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return bad("want an IP address or a host name in ASCII")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Is4In6() && ip.Zone() != "":
		return bad("an IPv4 address has no zone")
	case err == nil:
		host = ip.Unmap().String()
	case host == "" || strings.HasSuffix(host, "."):
		return bad("want an IP address or a host name")
	default:
		host = strings.ToLower(host)
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}
