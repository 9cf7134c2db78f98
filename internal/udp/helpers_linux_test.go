package udp

import (
	"bytes"
	"encoding/binary"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// readSize is the length of the buffers that the tests read into, quic-go's.
const readSize = 1452

type received struct {
	data []byte
	from string
	ecn  byte
}

func messages(n int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i] = ipv4.Message{Buffers: [][]byte{make([]byte, readSize)}, OOB: make([]byte, 128), N: -1, NN: -1}
	}
	return ms
}

// read reads want datagrams, slots at a time, and checks that their control messages are those that the socket
// was asked for.
func read(t *testing.T, c *conn, slots, want int) []received {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got []received
	for len(got) < want {
		ms := messages(slots)
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), want, err)
		}
		if n < 1 || n > slots {
			t.Fatalf("ReadBatch returned %d of %d messages", n, slots)
		}
		for _, m := range ms[:n] {
			if m.Flags != 0 {
				t.Fatalf("flags = %#x", m.Flags)
			}
			ecn, local := parseControl(t, m.OOB[:m.NN])
			if sender := m.Addr.(*net.UDPAddr); !local.Equal(sender.IP) {
				t.Fatalf("the datagram from %v was sent to %v", sender, local)
			}
			got = append(got, received{data: m.Buffers[0][:m.N], from: m.Addr.String(), ecn: ecn})
		}
	}
	return got
}

// parseControl returns the ECN bits and the address that the datagram was sent to.
func parseControl(t *testing.T, control []byte) (ecn byte, local net.IP) {
	t.Helper()
	parsed, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		t.Fatal(err)
	}
	ecn = 0xff
	for _, m := range parsed {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS:
			ecn = m.Data[0] & 3
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS:
			ecn = byte(binary.NativeEndian.Uint32(m.Data)) & 3
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
			local = m.Data[8:12]
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
			local = m.Data[:16]
		default:
			t.Fatalf("control message of level %d and type %d", m.Header.Level, m.Header.Type)
		}
	}
	return ecn, local
}

func equal(t *testing.T, got, want []received) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d datagrams, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].data, want[i].data) || got[i].from != want[i].from || got[i].ecn != want[i].ecn {
			t.Fatalf("datagram %d: %d bytes %.8x… from %s with ECN %d; want %d bytes %.8x… from %s with ECN %d", i,
				len(got[i].data), got[i].data, got[i].from, got[i].ecn,
				len(want[i].data), want[i].data, want[i].from, want[i].ecn)
		}
	}
}

func listenGRO(t *testing.T, network, addr string) *conn {
	t.Helper()
	c, ok := listen(t, Listen, network, addr).(*conn)
	if !ok {
		t.Fatal("this kernel has no UDP receive offload; these tests need Linux 5.0 or later")
	}
	return c
}

func sender(t *testing.T, host string) *net.UDPConn {
	t.Helper()
	return listen(t, ListenPlain, "udp", net.JoinHostPort(host, "0")).(*net.UDPConn)
}

// numbered returns count datagrams of size bytes, joined, each with its number in all of its 4-byte words.
func numbered(first, count, size int) []byte {
	var b []byte
	for i := range count {
		word := binary.BigEndian.AppendUint32(nil, uint32(first+i))
		b = append(b, bytes.Repeat(word, size/4+1)[:size]...)
	}
	return b
}

// send hands the kernel payload as datagrams of size bytes in one call.
func send(t *testing.T, from *net.UDPConn, to *conn, payload []byte, size int, ecn byte) {
	t.Helper()
	source := from.LocalAddr().(*net.UDPAddr)
	control := controlMessage(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, uint16(size)))
	class := binary.NativeEndian.AppendUint32(nil, uint32(ecn))
	if source.IP.To4() != nil {
		control = append(control, controlMessage(unix.IPPROTO_IP, unix.IP_TOS, class)...)
	} else {
		control = append(control, controlMessage(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)...)
	}
	destination := &net.UDPAddr{IP: source.IP, Port: to.LocalAddr().(*net.UDPAddr).Port}
	if n, _, err := from.WriteMsgUDP(payload, control, destination); err != nil || n != len(payload) {
		t.Fatalf("sent %d of %d bytes: %v", n, len(payload), err)
	}
}

// askForControl turns on what quic-go turns on: ECN and the address that a datagram was sent to.
func askForControl(t *testing.T, c syscall.Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	options := [][2]int{
		{unix.IPPROTO_IP, unix.IP_RECVTOS}, {unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
		{unix.IPPROTO_IP, unix.IP_PKTINFO}, {unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
	}
	if err := raw.Control(func(fd uintptr) {
		for _, option := range options {
			// An IPv4 socket refuses the options of IPv6. What is missing shows in what read returns.
			_ = unix.SetsockoptInt(int(fd), option[0], option[1], 1)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
