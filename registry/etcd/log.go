package etcd

import (
	"time"

	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// limitedLogger lets a burst of lines pass and then one a second, so that junk in
// etcd cannot fill a disk.
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

func (l *limitedLogger) warnf(format string, args ...any) { l.logf(logger.WarnLevel, format, args) }

func (l *limitedLogger) infof(format string, args ...any) { l.logf(logger.InfoLevel, format, args) }

func (l *limitedLogger) logf(level logger.Level, format string, args []any) {
	if l.limit.Allow() {
		l.log.Logf(level, format, args...)
	}
}
