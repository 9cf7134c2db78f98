//go:build unix

package codec

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns what this process has used of the processors so far, in user and
// kernel mode.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatalf("processor time: %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
