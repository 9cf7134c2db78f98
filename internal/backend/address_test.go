package backend

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const env = "SIGNET_TEST_ADDRESS"

func hostPort(addr string) (string, error) { return HostPort(addr, "1234") }

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addrs []string
		env   string
		want  []string
	}{
		{"none", nil, "", []string{"127.0.0.1:1234"}},
		{"empty", []string{"", ""}, "", []string{"127.0.0.1:1234"}},
		{"list", []string{"a:1, b:2", "", "c"}, "", []string{"a:1", "b:2", "c:1234"}},
		{"IPv4", []string{"10.0.0.1", "10.0.0.1:5"}, "", []string{"10.0.0.1:1234", "10.0.0.1:5"}},
		{"IPv6", []string{"::1", "[::1]", "[0:0::1]:5"}, "", []string{"[::1]:1234", "[::1]:1234", "[::1]:5"}},
		{"environment", nil, "a,b:7", []string{"a:1234", "b:7"}},
		{"option before environment", []string{"a"}, "b", []string{"a:1234"}},
		{"as many as may be", []string{strings.Repeat("a,", 63) + "a"}, "", strings.Split(strings.Repeat("a:1234,", 63)+"a:1234", ",")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(env, tt.env)
			got, err := ParseAddresses(tt.addrs, "Addrs", env, hostPort)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestBadAddresses(t *testing.T) {
	t.Setenv(env, "")
	for name, addr := range map[string]string{
		"path": "a/b", "query": "a:1?x", "port 0": "a:0", "port too large": "a:65536", "port no number": "a:b", "no port": "a:",
		"no host": ":1234", "empty element": "a,,b", "trailing comma": "a,", "only a comma": ",", "space": "a b", "control": "a\nb",
		"two colons": "a:1:2", "zone": "[fe80::1%eth0]:1", "dash": "-a", "long": strings.Repeat("a", 254),
		"many": strings.Repeat("a,", 64) + "a", "account": "u:secret@a",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseAddresses([]string{addr}, "Addrs", env, hostPort); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// TestErrorOfAnAddress: it says which, where it came from and why, and no password.
func TestErrorOfAnAddress(t *testing.T) {
	t.Setenv(env, "")
	cause := errors.New("no")
	_, err := ParseAddresses([]string{"u:secret@a"}, "Addrs", env, func(string) (int, error) { return 0, cause })
	if want := `"\u2026@a" in Addrs or $` + env + ": no"; !errors.Is(err, cause) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"localhost:1": true, "127.0.0.1:1": true, "127.1.2.3:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.0.0.1:1": false, "0.0.0.0:1": false, "[::]:1": false, "localhost.example:1": false, "127.0.0.1.example:1": false, "localhost": false, "": false,
	} {
		if Loopback(addr) != want {
			t.Errorf("%q: want %v", addr, want)
		}
	}
}
