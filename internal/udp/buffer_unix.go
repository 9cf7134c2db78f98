//go:build unix

package udp

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	receiveBuffer = unix.SO_RCVBUF
	sendBuffer    = unix.SO_SNDBUF
)

func socketOption(fd uintptr, option int) (int, error) {
	size, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
	return size, os.NewSyscallError("getsockopt", err)
}
