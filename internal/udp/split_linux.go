package udp

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// burst is what one receive call returned for one sender: a datagram, or a run of datagrams that the kernel
// merged. All are size bytes long, but for the last, which may be shorter. The zero value holds none.
type burst struct {
	data    []byte // not yet delivered
	control []byte // control messages of every datagram
	size    int
	more    bool // data is to be delivered; it is empty for an empty datagram
	addr    net.Addr
	flags   int
}

// split finds the datagrams in data by the UDP_GRO control message, which it takes out of control; control is
// overwritten. No such message means one datagram, and so does a size of at least all of data.
//
// Where the boundaries cannot be known the zero burst is returned, and QUIC's recovery repairs the loss: data or
// control were truncated, control cannot be parsed, or the size is not one positive int.
func split(data, control []byte, flags int) burst {
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return burst{}
	}
	control, size, ok := takeSegmentSize(control)
	if !ok {
		return burst{}
	}
	if size == 0 {
		size = len(data)
	}
	return burst{data: data, control: control, size: size, more: true, flags: flags}
}

// next returns the next datagram, as a part of the burst's data.
func (b *burst) next() (datagram []byte, ok bool) {
	if !b.more {
		return nil, false
	}
	n := min(b.size, len(b.data))
	datagram, b.data = b.data[:n:n], b.data[n:]
	b.more = len(b.data) > 0
	return datagram, true
}

// put copies a datagram of the burst into m and reports whether it fitted m's first buffer; if not, m is as it
// was. Control messages that do not fit are left out, all of them, and m's flags then say so as the kernel does.
func (b *burst) put(m *ipv4.Message, datagram []byte) bool {
	if len(m.Buffers) == 0 || len(datagram) > len(m.Buffers[0]) {
		return false
	}
	m.N = copy(m.Buffers[0], datagram)
	m.NN = 0
	m.Addr = b.addr
	m.Flags = b.flags
	if len(b.control) <= len(m.OOB) {
		m.NN = copy(m.OOB, b.control)
	} else {
		m.Flags |= unix.MSG_CTRUNC
	}
	return true
}

// takeSegmentSize moves the control messages other than UDP_GRO together, in place, and returns them with the
// segment size, 0 without such a message. It is not ok with control messages that do not parse, or with a segment
// size that is not positive, not an int, or there twice.
func takeSegmentSize(control []byte) (rest []byte, size int, ok bool) {
	rest = control[:0]
	for len(control) > 0 {
		if len(control) < unix.SizeofCmsghdr {
			return nil, 0, false
		}
		header, body, following, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return nil, 0, false
		}
		message := control[:len(control)-len(following)]
		control = following
		if header.Level != unix.IPPROTO_UDP || header.Type != unix.UDP_GRO {
			rest = append(rest, message...)
			continue
		}
		if len(body) != segmentSizeLen || size != 0 {
			return nil, 0, false
		}
		size = int(int32(binary.NativeEndian.Uint32(body)))
		if size <= 0 {
			return nil, 0, false
		}
	}
	return rest, size, true
}

// segmentSizeLen is the length of UDP_GRO's body, a C int.
const segmentSizeLen = 4
