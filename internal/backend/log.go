package backend

import (
	"time"

	"go-micro.dev/v4/logger"
	"golang.org/x/time/rate"
)

// LimitedLogger lets a burst of 20 lines pass and then one a second, so that neither a
// broken server nor who writes to it can fill a disk. It is safe for concurrent use.
type LimitedLogger struct {
	log   logger.Logger
	limit *rate.Limiter
}

// NewLimitedLogger returns one that writes to l, by default to go-micro's logger.
func NewLimitedLogger(l logger.Logger) *LimitedLogger {
	if l == nil {
		l = logger.DefaultLogger
	}
	return &LimitedLogger{log: l, limit: rate.NewLimiter(rate.Every(time.Second), 20)}
}

// Logf writes a line, or drops it.
func (l *LimitedLogger) Logf(level logger.Level, format string, args ...any) {
	if l.limit.Allow() {
		l.log.Logf(level, format, args...)
	}
}

// Warnf is Logf at the level of warnings.
func (l *LimitedLogger) Warnf(format string, args ...any) {
	l.Logf(logger.WarnLevel, format, args...)
}

// Infof is Logf at the level of information.
func (l *LimitedLogger) Infof(format string, args ...any) {
	l.Logf(logger.InfoLevel, format, args...)
}
