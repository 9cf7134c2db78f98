package etcd

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-signet/signet/internal/keys"
)

// addressEnv is where go-micro's command line takes the registry's addresses from.
const addressEnv = "MICRO_REGISTRY_ADDRESS"

const (
	defaultHost  = "127.0.0.1"
	defaultPort  = "2379"
	maxAddresses = 64
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// parseAddresses makes endpoints of addresses, each of which may be a list with
// commas. Without any, those of the environment are taken, and then 127.0.0.1:2379.
func parseAddresses(addrs []string, insecure bool) ([]string, error) {
	list := strings.Join(nonEmpty(addrs), ",")
	if list == "" {
		list = os.Getenv(addressEnv)
	}
	if list == "" {
		list = defaultHost
	}
	elements := strings.Split(list, ",")
	if len(elements) > maxAddresses {
		return nil, fmt.Errorf("etcd: %w: %d addresses: give at most %d", ErrAddress, len(elements), maxAddresses)
	}
	var endpoints []string
	for _, e := range elements {
		endpoint, err := parseAddress(strings.TrimSpace(e), insecure)
		if err != nil {
			return nil, fmt.Errorf("etcd: %w: %s in registry.Addrs or $%s: %w", ErrAddress, keys.Quote(withoutPassword(e)), addressEnv, err)
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, nil
}

// withoutPassword leaves out what stands before an @, for errors: an address has no
// account in it, but somebody may have put one there.
func withoutPassword(addr string) string {
	at := strings.LastIndex(addr, "@")
	if at < 0 {
		return addr
	}
	return "…" + addr[at:]
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

// parseAddress makes one endpoint, a URL without a path.
func parseAddress(addr string, insecure bool) (string, error) {
	want := "https"
	if insecure {
		want = "http"
	}
	if scheme, rest, ok := strings.Cut(addr, "://"); ok {
		switch {
		case scheme != "http" && scheme != "https":
			return "", fmt.Errorf("the scheme is neither http nor https")
		case scheme != want && insecure:
			return "", fmt.Errorf("https, and etcd.Insecure is set: remove one")
		case scheme != want:
			return "", fmt.Errorf("http is in clear: write https, or set etcd.Insecure for development")
		}
		addr = strings.TrimSuffix(rest, "/")
	}
	host, port, err := splitHostPort(addr)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		host = ip.String()
	} else if len(host) > 253 || !hostName.MatchString(host) {
		return "", fmt.Errorf("no host: want a host name or an IP address, with a port or without")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("no port: want a number from 1 to 65535")
	}
	return (&url.URL{Scheme: want, Host: net.JoinHostPort(host, port)}).String(), nil
}

func splitHostPort(addr string) (host, port string, err error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")); err == nil {
		return ip.String(), defaultPort, nil
	}
	if !strings.Contains(addr, ":") {
		return addr, defaultPort, nil
	}
	if host, port, err = net.SplitHostPort(addr); err != nil {
		return "", "", fmt.Errorf("want host:port")
	}
	return host, port, nil
}

// loopback reports whether all endpoints are of this host.
func loopback(endpoints []string) bool {
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil {
			return false
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if (err != nil || !ip.Unmap().IsLoopback()) && u.Hostname() != "localhost" {
			return false
		}
	}
	return true
}
