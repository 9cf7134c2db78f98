package main

import (
	"errors"
	"fmt"

	"github.com/go-signet/signet/internal/udp"
)

// buffers are the sizes in bytes that the system grants a QUIC socket.
type buffers struct{ receive, send int }

// grantedBuffers opens a socket as the transport does and asks what it got.
func grantedBuffers() (buffers, error) {
	pc, err := udp.ListenPlain("udp", "localhost:0")
	if err != nil {
		return buffers{}, err
	}
	defer pc.Close()
	receive, receiveErr := udp.ReceiveBuffer(pc)
	send, sendErr := udp.SendBuffer(pc)
	return buffers{receive, send}, errors.Join(receiveErr, sendErr)
}

// checkUDPBuffers warns, and no more: small buffers cost speed, not safety.
func checkUDPBuffers(r *report, goos string, granted func() (buffers, error)) {
	got, err := granted()
	if err != nil {
		r.add("udp buffers", warn, err.Error())
		return
	}
	for _, b := range []struct {
		name, sysctl string
		size         int
	}{
		{"udp receive buffer", "net.core.rmem_max", got.receive},
		{"udp send buffer", "net.core.wmem_max", got.send},
	} {
		detail := fmt.Sprintf("%d bytes", b.size)
		switch {
		case b.size >= udp.BufferSize:
			r.add(b.name, ok, detail)
		case goos == "linux":
			r.advise(b.name, warn, fmt.Sprintf("%s, QUIC under load wants %d", detail, udp.BufferSize),
				fmt.Sprintf("sudo sysctl -w %s=%d, then restart the services", b.sysctl, udp.BufferSize))
		default:
			r.advise(b.name, warn, fmt.Sprintf("%s, QUIC under load wants %d", detail, udp.BufferSize),
				"raise the system's limit for socket buffers, then restart the services")
		}
	}
}
