package sealed

import (
	"hash/maphash"
	"time"

	"golang.org/x/time/rate"
)

// Epochs that turn out to be junk cost public-key operations, of about 0.3 ms: so many
// at once and so many a second, in all and under one sender's name.
const (
	junkBurst, junkPerSecond         = 2000, 500
	junkNameBurst, junkNamePerSecond = 200, 20
	junkNames                        = 256
)

// junkLimit counts the epochs that did not verify. Who sends junk in a sender's name
// keeps that sender's new epochs out, and few of others; what is open stays open.
type junkLimit struct {
	seed  maphash.Seed
	all   *rate.Limiter
	names [junkNames]*rate.Limiter // by the claimed sender's hash
}

func newJunkLimit() junkLimit {
	j := junkLimit{seed: maphash.MakeSeed(), all: rate.NewLimiter(junkPerSecond, junkBurst)}
	for i := range j.names {
		j.names[i] = rate.NewLimiter(junkNamePerSecond, junkNameBurst)
	}
	return j
}

func (j *junkLimit) of(sender string) *rate.Limiter {
	return j.names[maphash.String(j.seed, sender)%junkNames]
}

// room reports whether there is room for another attempt.
func (j *junkLimit) room(sender string, now time.Time) bool {
	return j.of(sender).TokensAt(now) >= 1 && j.all.TokensAt(now) >= 1
}

// count counts an attempt that has failed.
func (j *junkLimit) count(sender string, now time.Time) {
	j.of(sender).AllowN(now, 1)
	j.all.AllowN(now, 1)
}
