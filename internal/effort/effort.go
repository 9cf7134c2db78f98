// Package effort bounds the public-key operations that others can make a receiver of
// sealed messages do, of about 0.3 ms an epoch that is not known: in all, and under one
// sender's name.
//
// Who sends junk in a sender's name, or old epochs of it, keeps that sender's new epochs
// out for a while, and few of others. What is open stays open: it costs no effort.
package effort

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"
)

// How many epochs are looked into at once and a second, in all and in one sender's name;
// and as how many one counts that turns out to be junk.
const (
	Burst, PerSecond         = 4000, 800
	NameBurst, NamePerSecond = 1000, 200
	Junk                     = 2

	names = 256
)

// Limit is safe for concurrent use.
type Limit struct {
	seed  maphash.Seed
	all   *rate.Limiter
	names [names]*rate.Limiter // by the claimed sender's hash
}

// New returns a limit that nothing was spent of.
func New() *Limit {
	l := &Limit{seed: maphash.MakeSeed(), all: rate.NewLimiter(PerSecond, Burst)}
	for i := range l.names {
		l.names[i] = rate.NewLimiter(NamePerSecond, NameBurst)
	}
	return l
}

func (l *Limit) of(sender string) *rate.Limiter {
	return l.names[maphash.String(l.seed, sender)%names]
}

// Room reports whether there is room for another attempt.
func (l *Limit) Room(sender string, now time.Time) bool {
	return l.of(sender).TokensAt(now) >= Junk && l.all.TokensAt(now) >= Junk
}

// Spend counts an attempt, as one or as Junk.
func (l *Limit) Spend(sender string, cost int, now time.Time) {
	l.of(sender).AllowN(now, cost)
	l.all.AllowN(now, cost)
}
