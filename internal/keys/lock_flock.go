//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package keys

import (
	"errors"
	"os"
	"syscall"
)

// lockFile waits for an exclusive lock on a file, which the kernel takes back
// when the process ends, however it ends.
func lockFile(path string) (unlock func() error, err error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: path, Err: err}, f.Close())
	}
	return f.Close, nil
}
