package signed

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// reporter tells of rejections: the hook of all, the log of a limited number, since
// whoever writes to the registry decides how many there are.
type reporter struct {
	hook    func(Rejection)
	log     logger.Logger
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newReporter(hook func(Rejection), log logger.Logger) *reporter {
	if log == nil {
		log = logger.DefaultLogger
	}
	return &reporter{hook: hook, log: log, limit: rate.NewLimiter(rate.Every(time.Second), 10)}
}

func (r *reporter) all(rejections []Rejection) {
	for _, rejection := range rejections {
		r.one(rejection)
	}
}

func (r *reporter) one(rejection Rejection) {
	if r.limit.Allow() {
		r.write(rejection)
	} else {
		r.skipped.Add(1)
	}
	if r.hook != nil {
		r.call(rejection)
	}
}

func (r *reporter) write(j Rejection) {
	verdict := "refused"
	if j.Passed {
		verdict = "let through"
	}
	more := ""
	if n := r.skipped.Swap(0); n > 0 {
		more = fmt.Sprintf(" (and %d that were not logged)", n)
	}
	r.log.Logf(logger.WarnLevel, "signed: node %s of %s at %s %s: %s: %v%s",
		keys.Quote(j.Node), keys.Quote(j.Service), keys.Quote(j.Address), verdict, j.Reason, j.Err, more)
}

// call keeps a panic of the hook from the calls that go-micro makes.
func (r *reporter) call(j Rejection) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Logf(logger.ErrorLevel, "signed: OnReject panicked: %v", p)
		}
	}()
	r.hook(j)
}
