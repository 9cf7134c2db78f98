package encrypted

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// reporter tells of rejections: the hook of all, the log of a limited number, since
// whoever sends decides how many there are.
type reporter struct {
	hook    func(Rejection)
	log     logger.Logger
	limit   *rate.Limiter
	skipped atomic.Int64
}

func newReporter(o *options) *reporter {
	return &reporter{hook: o.onReject, log: o.logger, limit: rate.NewLimiter(rate.Every(time.Second), 10)}
}

// reject reports an error about a target, and returns the one for go-micro: it goes to
// the peer, and does not say why.
func (r *reporter) reject(target string, err error) error {
	j := Rejection{Target: cut(target), Reason: reasonOf(err), Err: err}
	var known *rejected
	if errors.As(err, &known) {
		j.Peer = known.peer
	}
	r.tell(j)
	return errors.New(refusal)
}

func (r *reporter) tell(j Rejection) {
	if r.limit.Allow() {
		more := ""
		if n := r.skipped.Swap(0); n > 0 {
			more = fmt.Sprintf(" (and %d that were not logged)", n)
		}
		from := ""
		if j.Peer.ID != "" {
			from = " from " + j.Peer.ID
		}
		r.log.Logf(logger.WarnLevel, "encrypted: %s%s refused: %s: %v%s", quote(j.Target), from, j.Reason, j.Err, more)
	} else {
		r.skipped.Add(1)
	}
	if r.hook != nil {
		r.call(j)
	}
}

// call keeps a panic of the hook from the calls that go-micro makes.
func (r *reporter) call(j Rejection) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Logf(logger.ErrorLevel, "encrypted: OnReject panicked: %v", p)
		}
	}()
	r.hook(j)
}
