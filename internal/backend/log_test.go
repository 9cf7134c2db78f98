package backend

import (
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/logger"
)

type counter struct {
	logger.Logger
	lines map[logger.Level]int
}

func (c counter) Logf(level logger.Level, _ string, _ ...any) { c.lines[level]++ }

func TestLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := counter{lines: map[logger.Level]int{}}
		l := NewLimitedLogger(c)
		for range 100 {
			l.Warnf("junk %d", 1)
		}
		if c.lines[logger.WarnLevel] != 20 {
			t.Errorf("%d lines of a burst, want 20", c.lines[logger.WarnLevel])
		}
		time.Sleep(2 * time.Second)
		for range 100 {
			l.Infof("junk %d", 1)
		}
		if c.lines[logger.InfoLevel] != 2 {
			t.Errorf("%d lines after 2 s, want 2", c.lines[logger.InfoLevel])
		}
	})
}
