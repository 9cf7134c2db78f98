// Package udp opens the UDP sockets that carry QUIC and reads them with the kernel's receive offload.
//
// A QUIC sender hands the kernel many packets in one call (generic segmentation offload). Without the
// counterpart on the receiving side every packet costs its own trip through the socket. With UDP_GRO the kernel
// hands over a run of packets of one sender as one large datagram and says how long each packet was; this
// package splits it again, so that its reader sees exactly the datagrams that were sent.
//
// It guarantees that a datagram is either delivered whole, with its own source address and control messages, or
// not at all: nothing is merged, cut short or attributed to another sender.
//
// It assumes that the socket has one reader at a time for speed; several are safe.
//
// It does not protect anything: UDP is neither authenticated nor encrypted. That is QUIC's work above it.
//
// Receive offload needs Linux 5.0 or later. Elsewhere the plain [net.UDPConn] is used, and everything works the
// same, only slower for bulk data.
package udp

import (
	"fmt"
	"net"
)

// BufferSize is the size in bytes of the socket buffers that QUIC wants in each direction, 7 MiB: below it
// quic-go logs a warning, once in a process, and a burst at full speed may overrun the socket.
const BufferSize = 7 << 20

// Listen opens a UDP socket for QUIC, with receive offload where the kernel has it; [GRO] says whether it does.
//
// The network is "udp", "udp4" or "udp6". The address is host:port; port 0 picks a free one, and no host with
// "udp" means IPv4 and IPv6 both. Buffers are raised towards [BufferSize] as far as the system lets an
// unprivileged process; [ReceiveBuffer] and [SendBuffer] report what was granted.
//
// On a socket with receive offload, a datagram longer than the buffer it is read into is dropped whole rather
// than cut to fit.
func Listen(network, addr string) (net.PacketConn, error) {
	pc, err := ListenPlain(network, addr)
	if err != nil {
		return nil, err
	}
	return Wrap(pc), nil
}

// ListenPlain is [Listen] without receive offload. The result is a [net.UDPConn].
func ListenPlain(network, addr string) (net.PacketConn, error) {
	resolved, err := net.ResolveUDPAddr(network, addr)
	if err != nil {
		return nil, fmt.Errorf("udp: want a udp network and an address of the form host:port: %w", err)
	}
	c, err := net.ListenUDP(network, resolved)
	if err != nil {
		return nil, fmt.Errorf("udp: socket not opened; check that the address is this host's and its port free and permitted: %w", err)
	}
	raiseBuffers(c)
	return c, nil
}

// Wrap gives pc receive offload if it is a [net.UDPConn] and the kernel can do it, and returns anything else
// unchanged. The result takes pc over: from then on only the result may be read, because a read from pc itself
// would return several datagrams as one, and closing the result closes pc.
func Wrap(pc net.PacketConn) net.PacketConn {
	if c, ok := pc.(*net.UDPConn); ok && c != nil {
		return offload(c)
	}
	return pc
}

// GRO reports whether pc reads with receive offload.
func GRO(pc net.PacketConn) bool { return offloaded(pc) }
