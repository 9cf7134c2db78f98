package nats

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/go-signet/signet/internal/backend"
)

// addressEnv is where go-micro's command line takes the broker's addresses from.
const addressEnv = "MICRO_BROKER_ADDRESS"

const defaultPort = "4222"

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

// parseAddresses takes addresses, each of which may be a list with commas. Without any,
// those of the environment are taken, and then 127.0.0.1:4222.
func parseAddresses(addrs []string) ([]address, error) {
	parsed, err := backend.ParseAddresses(addrs, "broker.Addrs", addressEnv, parseAddress)
	if err != nil {
		return nil, fmt.Errorf("nats: %w: %w", ErrAddress, err)
	}
	return parsed, nil
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
	a.host, err = backend.HostPort(addr, defaultPort)
	return a, err
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
