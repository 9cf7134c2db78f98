package nats

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

// addressEnv is where go-micro's command line takes the broker's addresses from.
const addressEnv = "MICRO_BROKER_ADDRESS"

const (
	defaultHost  = "127.0.0.1"
	defaultPort  = "4222"
	maxAddresses = 64
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// address is one server.
type address struct {
	host    string // with the port
	account *url.Userinfo
	tls     bool // the scheme says so
}

// url is the address as nats.go has it.
func (a address) url(secure bool) string {
	scheme := "nats"
	if secure {
		scheme = "tls"
	}
	return (&url.URL{Scheme: scheme, User: a.account, Host: a.host}).String()
}

// loopback reports whether the address is of this host.
func (a address) loopback() bool {
	host, _, err := net.SplitHostPort(a.host)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// parseAddresses takes addresses, each of which may be a list with commas. Without any,
// those of the environment are taken, and then 127.0.0.1:4222.
func parseAddresses(addrs []string) ([]address, error) {
	list := strings.Join(nonEmpty(addrs), ",")
	if list == "" {
		list = os.Getenv(addressEnv)
	}
	if list == "" {
		list = defaultHost
	}
	elements := strings.Split(list, ",")
	if len(elements) > maxAddresses {
		return nil, fmt.Errorf("nats: %w: %d addresses: give at most %d", ErrAddress, len(elements), maxAddresses)
	}
	var parsed []address
	for _, e := range elements {
		a, err := parseAddress(strings.TrimSpace(e))
		if err != nil {
			return nil, fmt.Errorf("nats: %w: %s in broker.Addrs or $%s: %w", ErrAddress, keys.Quote(withoutAccount(e)), addressEnv, err)
		}
		parsed = append(parsed, a)
	}
	return parsed, nil
}

// withoutAccount leaves out what stands before an @, for errors.
func withoutAccount(addr string) string {
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

func parseAddress(addr string) (a address, err error) {
	if scheme, rest, ok := strings.Cut(addr, "://"); ok {
		switch scheme {
		case "nats":
		case "tls":
			a.tls = true
		default:
			return a, fmt.Errorf("the scheme is neither nats nor tls")
		}
		addr = strings.TrimSuffix(rest, "/")
	}
	if at := strings.LastIndex(addr, "@"); at >= 0 {
		if a.account, err = parseAccount(addr[:at]); err != nil {
			return a, err
		}
		addr = addr[at+1:]
	}
	host, port, err := splitHostPort(addr)
	if err != nil {
		return a, err
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		host = ip.String()
	} else if len(host) > 253 || !hostName.MatchString(host) {
		return a, fmt.Errorf("no host: want a host name or an IP address, with a port or without")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return a, fmt.Errorf("no port: want a number from 1 to 65535")
	}
	a.host = net.JoinHostPort(host, port)
	return a, nil
}

// parseAccount reads "user:password" or "token". Its errors do not repeat it.
func parseAccount(s string) (*url.Userinfo, error) {
	user, password, both := strings.Cut(s, ":")
	user, err := url.PathUnescape(user)
	if err != nil || user == "" {
		return nil, fmt.Errorf("what is before the @ is neither user:password nor a token: write special characters as %%XX")
	}
	if !both {
		return url.User(user), nil
	}
	if password, err = url.PathUnescape(password); err != nil || password == "" {
		return nil, fmt.Errorf("the password before the @ is empty or malformed: write special characters as %%XX")
	}
	return url.UserPassword(user, password), nil
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
