//go:build unix

package measure

import (
	"syscall"
	"testing"
	"time"
)

// CPUTime returns what this process has used of the processors so far, in user and
// kernel mode.
func CPUTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatalf("processor time: %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
