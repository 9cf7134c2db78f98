//go:build !unix && !windows

package udp

import "errors"

const (
	receiveBuffer = iota
	sendBuffer
)

func socketOption(uintptr, int) (int, error) { return 0, errors.ErrUnsupported }
