package etcd

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/go-signet/signet/internal/backend"
)

// addressEnv is where go-micro's command line takes the registry's addresses from.
const addressEnv = "MICRO_REGISTRY_ADDRESS"

const defaultPort = "2379"

// parseAddresses makes endpoints of addresses, each of which may be a list with
// commas. Without any, those of the environment are taken, and then 127.0.0.1:2379.
func parseAddresses(addrs []string, insecure bool) ([]string, error) {
	endpoints, err := backend.ParseAddresses(addrs, "registry.Addrs", addressEnv, func(addr string) (string, error) {
		return parseAddress(addr, insecure)
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w: %w", ErrAddress, err)
	}
	return endpoints, nil
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
	host, err := backend.HostPort(addr, defaultPort)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: want, Host: host}).String(), nil
}

// loopback reports whether all endpoints are of this host.
func loopback(endpoints []string) bool {
	for _, e := range endpoints {
		if u, err := url.Parse(e); err != nil || !backend.Loopback(u.Host) {
			return false
		}
	}
	return true
}
