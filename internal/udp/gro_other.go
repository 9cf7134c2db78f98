//go:build !linux

package udp

import "net"

func offload(c *net.UDPConn) net.PacketConn { return c }

func offloaded(net.PacketConn) bool { return false }
