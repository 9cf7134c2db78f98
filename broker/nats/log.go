package nats

import (
	"time"

	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// limitedLogger lets a burst of lines pass and then one a second, so that a hostile
// publisher or a broken server cannot fill a disk.
type limitedLogger struct {
	log   logger.Logger
	limit *rate.Limiter
}

func newLimitedLogger(l logger.Logger) *limitedLogger {
	if l == nil {
		l = logger.DefaultLogger
	}
	return &limitedLogger{log: l, limit: rate.NewLimiter(rate.Every(time.Second), 20)}
}

func (l *limitedLogger) logf(level logger.Level, format string, args ...any) {
	if l.limit.Allow() {
		l.log.Logf(level, format, args...)
	}
}
