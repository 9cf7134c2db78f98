//go:build unix

package keys

import "syscall"

const (
	openNonblock = syscall.O_NONBLOCK
	modesMatter  = true
)
