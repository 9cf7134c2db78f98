package keys

import (
	"fmt"
	"net/netip"
	"strings"
)

// Limits of the SPIFFE ID specification, sections 2.1 to 2.3.
const (
	MaxTrustDomain = 255
	MaxService     = 255
	scheme         = "spiffe://"
)

// ID is a SPIFFE ID that names one service.
type ID struct {
	TrustDomain string
	Service     string // the path, without its leading slash; never empty
}

// String returns the ID as it stands in a certificate.
func (id ID) String() string { return scheme + id.TrustDomain + "/" + id.Service }

// NewID returns the ID of a service in a trust domain, or ErrInvalidName.
func NewID(trustDomain, service string) (ID, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return ID{}, err
	}
	if err := CheckService(service); err != nil {
		return ID{}, err
	}
	return ID{TrustDomain: trustDomain, Service: service}, nil
}

// ParseID reads a SPIFFE ID strictly: what it accepts, String gives back byte for
// byte. There is no percent-encoding, port, query or fragment in a SPIFFE ID, and
// the scheme and the trust domain are lower case.
func ParseID(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return ID{}, fmt.Errorf("%w: %s does not begin with %s", ErrInvalidName, Quote(s), scheme)
	}
	trustDomain, service, ok := strings.Cut(rest, "/")
	if !ok {
		return ID{}, fmt.Errorf("%w: %s names no service: want %s<trust domain>/<service>", ErrInvalidName, Quote(s), scheme)
	}
	return NewID(trustDomain, service)
}

// CheckTrustDomain accepts what SPIFFE does, [a-z0-9._-] of 1 to 255 bytes, less
// what crypto/x509 cannot put in a certificate or under a name constraint: empty
// labels (a dot at either end, or two together) and IP addresses.
func CheckTrustDomain(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: the trust domain is empty: give one such as shop.internal", ErrInvalidName)
	case len(s) > MaxTrustDomain:
		return fmt.Errorf("%w: a trust domain of %d bytes: at most %d", ErrInvalidName, len(s), MaxTrustDomain)
	}
	for i := range len(s) {
		if c := s[i]; !lowerDigit(c) && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("%w: trust domain %s: only a-z, 0-9, dot, hyphen and underscore", ErrInvalidName, Quote(s))
		}
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return fmt.Errorf("%w: trust domain %s has an empty label: remove the extra dot", ErrInvalidName, Quote(s))
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fmt.Errorf("%w: trust domain %s is an IP address: give a name", ErrInvalidName, Quote(s))
	}
	return nil
}

// CheckService accepts the path of a SPIFFE ID without its leading slash: one or
// more segments of [a-zA-Z0-9._-], none empty, "." or "..", at most 255 bytes in
// all.
func CheckService(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: the service name is empty", ErrInvalidName)
	case len(s) > MaxService:
		return fmt.Errorf("%w: a service name of %d bytes: at most %d", ErrInvalidName, len(s), MaxService)
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("%w: service name %s: a segment is empty, \".\" or \"..\"", ErrInvalidName, Quote(s))
		}
		for i := range len(segment) {
			c := segment[i]
			if !lowerDigit(c) && !('A' <= c && c <= 'Z') && c != '.' && c != '-' && c != '_' {
				return fmt.Errorf("%w: service name %s: only letters, digits, dot, hyphen and underscore, in segments parted by slashes", ErrInvalidName, Quote(s))
			}
		}
	}
	return nil
}

func lowerDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// Quote makes a string that a peer or a file gave fit for a log: quoted, in
// ASCII, and cut after 64 bytes.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%+q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%+q", s)
}
