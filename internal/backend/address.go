package backend

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-signet/signet/internal/keys"
)

const (
	defaultHost  = "127.0.0.1"
	maxAddresses = 64
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// ParseAddresses parses up to 64 addresses, each of which may be a list with commas.
// Without any, those of the environment variable env are taken, and then 127.0.0.1.
// Errors name option, where the addresses come from if not from env, and the address
// without what stands before an @ in it.
func ParseAddresses[T any](addrs []string, option, env string, parse func(addr string) (T, error)) ([]T, error) {
	list := strings.Join(nonEmpty(addrs), ",")
	if list == "" {
		list = os.Getenv(env)
	}
	if list == "" {
		list = defaultHost
	}
	elements := strings.Split(list, ",")
	if len(elements) > maxAddresses {
		return nil, fmt.Errorf("%d addresses: give at most %d", len(elements), maxAddresses)
	}
	var parsed []T
	for _, e := range elements {
		one, err := parse(strings.TrimSpace(e))
		if err != nil {
			return nil, fmt.Errorf("%s in %s or $%s: %w", keys.Quote(withoutAccount(e)), option, env, err)
		}
		parsed = append(parsed, one)
	}
	return parsed, nil
}

func nonEmpty(list []string) []string {
	var kept []string
	for _, s := range list {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// withoutAccount leaves out what stands before an @, which may be a password, also
// where the plugin wants no account.
func withoutAccount(addr string) string {
	at := strings.LastIndex(addr, "@")
	if at < 0 {
		return addr
	}
	return "…" + addr[at:]
}

// HostPort parses a host name or an IP address, with a port or without, and returns
// both as net.JoinHostPort writes them.
func HostPort(addr, defaultPort string) (string, error) {
	host, port, err := splitHostPort(addr, defaultPort)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		host = ip.String()
	} else if len(host) > 253 || !hostName.MatchString(host) {
		return "", errors.New("no host: want a host name or an IP address, with a port or without")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("no port: want a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

func splitHostPort(addr, defaultPort string) (host, port string, err error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")); err == nil {
		return ip.String(), defaultPort, nil
	}
	if !strings.Contains(addr, ":") {
		return addr, defaultPort, nil
	}
	if host, port, err = net.SplitHostPort(addr); err != nil {
		return "", "", errors.New("want host:port")
	}
	return host, port, nil
}

// Loopback reports whether what HostPort returned is of this host: localhost, or an
// address of the loopback interface.
func Loopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
