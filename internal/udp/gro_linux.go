package udp

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many merged datagrams one system call may return. It equals the number of messages that
	// quic-go reads at once, so that many senders of single packets cost no more calls than without offload.
	batchSize = 8

	// maxMerged holds the longest datagram that UDP can carry, and the kernel merges no more than that.
	maxMerged = 64 << 10

	// maxControl holds every control message that quic-go asks for, twice over: segment size, and for both IP
	// versions traffic class and packet info, together 144 bytes.
	maxControl = 256
)

// socket is the part of *net.UDPConn that works the same with receive offload: everything but reading. The
// connection is held as this interface so that none of its own reads, which know nothing of merged datagrams,
// is within reach.
type socket interface {
	WriteTo(b []byte, addr net.Addr) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	SyscallConn() (syscall.RawConn, error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
	LocalAddr() net.Addr
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Close() error
}

// conn is a UDP socket with receive offload. quic-go takes it as its OOBCapablePacketConn and reads it by
// ReadBatch alone.
//
// The first read allocates buffers of batchSize × maxMerged, 512 KiB a socket, of which memory is touched only as far
// as datagrams reach into it.
type conn struct {
	socket
	raw    syscall.RawConn
	reader *ipv4.PacketConn // of either IP version, in spite of its name

	mu       sync.Mutex // held by one reader at a time, while it waits too
	received []ipv4.Message
	filled   int   // of received, by the last system call
	taken    int   // of filled, up to and with current
	current  burst // being delivered
}

func offload(c *net.UDPConn) net.PacketConn {
	raw, err := c.SyscallConn()
	if err != nil {
		return c
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}); err != nil || refused != nil {
		return c
	}
	return &conn{socket: c, raw: raw, reader: ipv4.NewPacketConn(c)}
}

func offloaded(pc net.PacketConn) bool {
	_, ok := pc.(*conn)
	return ok
}

// ReadBatch waits for datagrams and reads up to len(ms) of them, each into the first buffer of its message, in the
// order in which the kernel had them. What a system call returned beyond that is delivered by the following
// calls. Datagrams of one burst share their Addr, which must not be written to. Flags must be 0.
//
// After an error the messages are empty: quic-go goes on to look at them when the error is a deadline's.
func (c *conn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := c.readBatch(ms, flags)
	if err != nil {
		for i := range ms {
			ms[i].N, ms[i].NN, ms[i].Flags, ms[i].Addr = 0, 0, 0, nil
		}
	}
	return n, err
}

func (c *conn) readBatch(ms []ipv4.Message, flags int) (int, error) {
	if flags != 0 {
		return 0, &net.OpError{Op: "read", Net: "udp", Source: c.LocalAddr(), Err: unix.EOPNOTSUPP}
	}
	if len(ms) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()

	// A deadline or Close ends reading at once, whatever is still to be delivered. Only a read tells of them;
	// this one makes no system call.
	if err := c.raw.Read(readNothing); err != nil {
		return 0, err
	}
	for {
		if n := c.deliver(ms); n > 0 {
			return n, nil
		}
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
}

func readNothing(uintptr) bool { return true }

// deliver moves datagrams into ms until it is full or none is left, and returns how many.
func (c *conn) deliver(ms []ipv4.Message) (n int) {
	for n < len(ms) {
		datagram, ok := c.current.next()
		if ok {
			if c.current.put(&ms[n], datagram) {
				n++
			}
			continue
		}
		if c.taken == c.filled {
			break
		}
		m := &c.received[c.taken]
		c.taken++
		c.current = split(m.Buffers[0][:m.N], m.OOB[:m.NN], m.Flags)
		c.current.addr = m.Addr
	}
	return n
}

// receive waits for datagrams. Everything received before must have been delivered: its memory is used again.
func (c *conn) receive() error {
	if c.received == nil {
		c.received = newMessages()
	}
	c.filled, c.taken = 0, 0
	n, err := c.reader.ReadBatch(c.received, 0)
	if err != nil {
		return err
	}
	c.filled = n
	return nil
}

func newMessages() []ipv4.Message {
	ms := make([]ipv4.Message, batchSize)
	data := make([]byte, batchSize*maxMerged)
	control := make([]byte, batchSize*maxControl)
	for i := range ms {
		ms[i].Buffers = [][]byte{data[i*maxMerged : (i+1)*maxMerged]}
		ms[i].OOB = control[i*maxControl : (i+1)*maxControl : (i+1)*maxControl]
	}
	return ms
}

// ReadFrom reads one datagram.
func (c *conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, _, addr, err := c.ReadMsgUDP(b, nil)
	if err != nil {
		return 0, nil, err
	}
	return n, addr, nil
}

// ReadMsgUDP reads one datagram with its control messages.
func (c *conn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	ms := []ipv4.Message{{Buffers: [][]byte{b}, OOB: oob}}
	if _, err := c.ReadBatch(ms, 0); err != nil {
		return 0, 0, 0, nil, err
	}
	addr, _ = ms[0].Addr.(*net.UDPAddr)
	return ms[0].N, ms[0].NN, ms[0].Flags, addr, nil
}
