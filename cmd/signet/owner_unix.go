//go:build unix

package main

import (
	"os"
	"syscall"
)

// sameOwner reports whether two files belong to one user. What cannot be asked is
// not held against them.
func sameOwner(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return true
	}
	second, err := os.Stat(b)
	if err != nil {
		return true
	}
	x, okX := first.Sys().(*syscall.Stat_t)
	y, okY := second.Sys().(*syscall.Stat_t)
	return !okX || !okY || x.Uid == y.Uid
}
