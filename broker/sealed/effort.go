package sealed

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"
)

// Epochs that are not known cost public-key operations, of about 0.3 ms: so many at once
// and so many a second, in all and under one sender's name. One that turns out to be junk
// counts as two.
const (
	effortBurst, effortPerSecond         = 4000, 800
	effortNameBurst, effortNamePerSecond = 1000, 200
	effortNames                          = 256
	costOfJunk                           = 2
)

// effort bounds what others can make us compute. Who sends junk in a sender's name, or
// old epochs of it, keeps that sender's new epochs out for a while, and few of others;
// what is open stays open.
type effort struct {
	seed  maphash.Seed
	all   *rate.Limiter
	names [effortNames]*rate.Limiter // by the claimed sender's hash
}

func newEffort() effort {
	e := effort{seed: maphash.MakeSeed(), all: rate.NewLimiter(effortPerSecond, effortBurst)}
	for i := range e.names {
		e.names[i] = rate.NewLimiter(effortNamePerSecond, effortNameBurst)
	}
	return e
}

func (e *effort) of(sender string) *rate.Limiter {
	return e.names[maphash.String(e.seed, sender)%effortNames]
}

// room reports whether there is room for another attempt.
func (e *effort) room(sender string, now time.Time) bool {
	return e.of(sender).TokensAt(now) >= costOfJunk && e.all.TokensAt(now) >= costOfJunk
}

// spend counts an attempt.
func (e *effort) spend(sender string, cost int, now time.Time) {
	e.of(sender).AllowN(now, cost)
	e.all.AllowN(now, cost)
}
