package main

import (
	"crypto/x509"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// Bounds of --valid-for. Above longLife a leaf outlives what revocation lists
// and attention spans are good for, so the command warns.
const (
	shortLife = time.Minute
	longLife  = 90 * 24 * time.Hour
)

// keysFlag is the directory that holds the authority and the identities.
func keysFlag(fs *flag.FlagSet, value, usage string) *directory {
	dir := directory(value)
	fs.Var(&dir, "keys", usage)
	return &dir
}

// directory is a flag that is not empty once it is given: an unset variable in a
// script must not mean the working directory.
type directory string

func (d *directory) String() string { return string(*d) }

func (d *directory) Set(text string) error {
	if text == "" {
		return fmt.Errorf("empty name")
	}
	*d = directory(text)
	return nil
}

// groupFlag is for directories whose secrets Kubernetes made. The environment
// variable that says the same to a service is its default.
func groupFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("group-readable", false, "accept secrets that their group may read, as Kubernetes makes them for an fsGroup; "+identity.EnvGroupReadable+"=true does the same")
}

// lifetime is a --valid-for value: a Go duration, or whole days as in 30d.
type lifetime time.Duration

func (l *lifetime) String() string { return strings.TrimSuffix(time.Duration(*l).String(), "0m0s") }

func (l *lifetime) Set(text string) error {
	d, err := parseLifetime(text)
	if err != nil {
		return err
	}
	if d < shortLife {
		return fmt.Errorf("must be at least %v", shortLife)
	}
	*l = lifetime(d)
	return nil
}

func parseLifetime(text string) (time.Duration, error) {
	const day = 24 * time.Hour
	if number, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(number, 10, 32)
		if err != nil || days > math.MaxInt64/uint64(day) {
			return 0, fmt.Errorf("want a duration such as 720h or 30d")
		}
		return time.Duration(days) * day, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as 720h or 30d")
	}
	return d, nil
}

func warnLongLife(s *session, leaf *x509.Certificate) {
	if d := life(leaf); d > longLife {
		s.warnf("valid for %s: above 90 days a stolen key stays useful for long; prefer a short life and 'signet renew'", span(d))
	}
}

// life is for how long a leaf was issued, without what it was dated back.
func life(leaf *x509.Certificate) time.Duration {
	return leaf.NotAfter.Sub(leaf.NotBefore) - keys.ClockSkew
}

// names is a flag that may be repeated or hold a comma-separated list.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return fmt.Errorf("empty name")
		}
		*n = append(*n, name)
	}
	return nil
}
