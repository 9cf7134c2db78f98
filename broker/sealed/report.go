package sealed

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// mostTopic is how much of a topic is shown. Those that rules can match are shorter.
const mostTopic = 600

// reporter tells of what goes wrong: the hooks of all, the log of a limited number,
// since whoever publishes decides how many there are.
type reporter struct {
	broker  *sealedBroker
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newReporter(b *sealedBroker) *reporter {
	return &reporter{broker: b, limit: rate.NewLimiter(rate.Every(time.Second), 10)}
}

func (r *reporter) log() logger.Logger {
	r.broker.mu.Lock()
	defer r.broker.mu.Unlock()
	if r.broker.opts.Logger == nil {
		return logger.DefaultLogger
	}
	return r.broker.opts.Logger
}

// rejection tells of a message that is not delivered.
func (r *reporter) rejection(hook func(Rejection), j Rejection) {
	j.Topic = j.Topic[:min(len(j.Topic), mostTopic)]
	if r.limit.Allow() {
		more := ""
		if n := r.skipped.Swap(0); n > 0 {
			more = fmt.Sprintf(" (and %d that were not logged)", n)
		}
		from := j.Peer.ID
		if from == "" {
			from = "somebody who says to be " + keys.Quote(j.Claimed)
		}
		r.log().Logf(logger.WarnLevel, "sealed: message on %s from %s refused: %s: %v%s", keys.Quote(j.Topic), from, j.Reason, j.Err, more)
	} else {
		r.skipped.Add(1)
	}
	if hook != nil {
		r.guard("OnReject", func() { hook(j) })
	}
}

// missing tells which subscribers of a rule have no key, or that all have again.
func (r *reporter) missing(hook func(string, []string), pattern string, subscribers []string) {
	if len(subscribers) > 0 {
		r.log().Logf(logger.WarnLevel, "sealed: %s: no box key is known of %s: they cannot read what is published until they are in the registry, or Identity.AddCard has their card",
			keys.Quote(pattern), strings.Join(subscribers, ", "))
	} else {
		r.log().Logf(logger.InfoLevel, "sealed: %s: box keys of all subscribers are known", keys.Quote(pattern))
	}
	if hook != nil {
		r.guard("OnMissing", func() { hook(pattern, subscribers) })
	}
}

func (r *reporter) warnf(format string, args ...any) {
	if r.limit.Allow() {
		r.log().Logf(logger.WarnLevel, format, args...)
	}
}

// guard keeps a panic of a hook from the broker's goroutine.
func (r *reporter) guard(what string, hook func()) {
	defer func() {
		if p := recover(); p != nil {
			r.log().Logf(logger.ErrorLevel, "sealed: %s panicked: %v", what, p)
		}
	}()
	hook()
}
