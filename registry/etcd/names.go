package etcd

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-signet/signet/internal/keys"
)

// maxName is how many bytes the name of a service or the ID of a node may have.
const maxName = 1024

const hexDigits = "0123456789ABCDEF"

// checkName refuses names that have no key.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("etcd: %w: the %s is empty: set one", ErrInvalid, what)
	case len(name) > maxName:
		return fmt.Errorf("etcd: %w: the %s %s has %d bytes: at most %d are possible", ErrInvalid, what, keys.Quote(name), len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("etcd: %w: the %s %s is not UTF-8: choose another", ErrInvalid, what, keys.Quote(name))
	}
	return nil
}

// escape makes a name one segment of a key. Names that need no escaping are what
// they are, as in go-micro's own plugin.
func escape(name string) string {
	var b strings.Builder
	dots := name == "." || name == ".."
	for i := range len(name) {
		c := name[i]
		if c == '%' || c == '/' || control(rune(c)) || dots {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// unescape is the reverse. ok is false for what escape does not make, so that no two
// keys have one name.
func unescape(segment string) (name string, ok bool) {
	if len(segment) > 3*maxName {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(segment); i++ {
		if segment[i] != '%' {
			b.WriteByte(segment[i])
			continue
		}
		if i+2 >= len(segment) {
			return "", false
		}
		hi, lo := strings.IndexByte(hexDigits, segment[i+1]), strings.IndexByte(hexDigits, segment[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	name = b.String()
	return name, checkName("name", name) == nil && escape(name) == segment
}

// servicePrefix is what the keys of a service's nodes begin with.
func servicePrefix(prefix, service string) string { return prefix + escape(service) + "/" }

// nodeKey is the key of a node.
func nodeKey(prefix, service, id string) string { return servicePrefix(prefix, service) + escape(id) }

// parseKey tells the node of a key; ok is false if it is not one of ours.
func parseKey(prefix, key string) (service, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", "", false
	}
	first, second, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	if service, ok = unescape(first); !ok {
		return "", "", false
	}
	id, ok = unescape(second)
	return service, id, ok
}
