package udp

import (
	"os"

	"golang.org/x/sys/windows"
)

const (
	receiveBuffer = windows.SO_RCVBUF
	sendBuffer    = windows.SO_SNDBUF
)

func socketOption(fd uintptr, option int) (int, error) {
	size, err := windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, option)
	return size, os.NewSyscallError("getsockopt", err)
}
