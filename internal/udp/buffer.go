package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ReceiveBuffer returns the size in bytes of the receive buffer that the system granted pc's socket. Linux counts
// its own bookkeeping in and reports twice what was asked for, up to twice net.core.rmem_max.
//
// Less than [BufferSize] on a socket from [Listen] means that the system's limit is too low for fast bulk
// transfers. On Linux the remedy is sysctl -w net.core.rmem_max=7340032, and it takes effect for sockets opened
// afterwards.
//
// The error says that pc is closed, is not a system socket, or that the platform does not tell.
func ReceiveBuffer(pc net.PacketConn) (bytes int, err error) {
	return socketBuffer(pc, receiveBuffer)
}

// SendBuffer is [ReceiveBuffer] for the send buffer; on Linux its limit is net.core.wmem_max.
func SendBuffer(pc net.PacketConn) (bytes int, err error) {
	return socketBuffer(pc, sendBuffer)
}

func socketBuffer(pc net.PacketConn, option int) (int, error) {
	c, ok := pc.(syscall.Conn)
	if !ok {
		return 0, errors.New("udp: buffer size unknown: not a system socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("udp: buffer size unknown: %w", err)
	}
	var size int
	var failed error
	if err := raw.Control(func(fd uintptr) { size, failed = socketOption(fd, option) }); err != nil {
		return 0, fmt.Errorf("udp: buffer size unknown: %w", err)
	}
	if failed != nil {
		return 0, fmt.Errorf("udp: buffer size unknown: %w", failed)
	}
	return size, nil
}

// raiseBuffers asks for buffers of BufferSize and takes what it gets: too small a buffer costs speed, not
// correctness. quic-go asks again with privileges where the process has them; doing so here would hide from
// ReceiveBuffer what the same service gets when it runs without.
func raiseBuffers(c *net.UDPConn) {
	if size, err := ReceiveBuffer(c); err == nil && size < BufferSize {
		_ = c.SetReadBuffer(BufferSize)
	}
	if size, err := SendBuffer(c); err == nil && size < BufferSize {
		_ = c.SetWriteBuffer(BufferSize)
	}
}
