package udp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// What quic-go looks for in its Transport.Conn.
var _ interface {
	quic.OOBCapablePacketConn
	ReadBatch([]ipv4.Message, int) (int, error)
	SetWriteBuffer(int) error
} = (*conn)(nil)

var families = []struct{ name, network, local, host string }{
	{"IPv4", "udp4", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "udp6", "[::1]:0", "::1"},
	{"IPv4 wildcard", "udp4", ":0", "127.0.0.1"},
	{"IPv4 to dual stack", "udp", ":0", "127.0.0.1"},
	{"IPv6 to dual stack", "udp", ":0", "::1"},
}

// TestKernelMerges shows that the other tests of this file test something: the kernel does hand over a burst as
// one datagram.
func TestKernelMerges(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			c := listenGRO(t, family.network, family.local)
			from := sender(t, family.host)
			send(t, from, c, numbered(0, 10, 1200), 1200, 0)
			if n, _, err := c.socket.(*net.UDPConn).ReadFrom(make([]byte, maxMerged)); err != nil || n != 10*1200 {
				t.Fatalf("read %d bytes, %v; want 10 datagrams of 1200 in one", n, err)
			}
		})
	}
}

func TestBurst(t *testing.T) {
	for _, family := range families {
		for _, slots := range []int{1, 3, 8, 64} {
			t.Run(fmt.Sprintf("%s/slots=%d", family.name, slots), func(t *testing.T) {
				c := listenGRO(t, family.network, family.local)
				askForControl(t, c)
				from := sender(t, family.host)

				// Marks differ between bursts, and each ends with a shorter datagram.
				var want []received
				for burst, ecn := range []byte{1, 2, 0, 3} {
					payload := numbered(100*burst, 20, 1200)[:19*1200+17]
					send(t, from, c, payload, 1200, ecn)
					for datagram := range slices.Chunk(payload, 1200) {
						want = append(want, received{data: datagram, from: from.LocalAddr().String(), ecn: ecn})
					}
				}
				equal(t, read(t, c, slots, len(want)), want)
			})
		}
	}
}

func TestMixedSenders(t *testing.T) {
	c := listenGRO(t, "udp", ":0")
	askForControl(t, c)
	froms := []*net.UDPConn{sender(t, "127.0.0.1"), sender(t, "::1"), sender(t, "127.0.0.1")}
	var want []received
	for round := range 10 {
		for i, from := range froms {
			payload := numbered(100*round, 5+i, 500+i)
			send(t, from, c, payload, 500+i, 0)
			for datagram := range slices.Chunk(payload, 500+i) {
				want = append(want, received{data: datagram, from: from.LocalAddr().String()})
			}
		}
	}
	equal(t, read(t, c, 8, len(want)), want)
}

func TestSingleDatagrams(t *testing.T) {
	c := listenGRO(t, "udp4", "127.0.0.1:0")
	askForControl(t, c)
	from := sender(t, "127.0.0.1")
	var want []received
	for _, size := range []int{1, 0, 1400, 7, 1400, 1400} {
		data := numbered(size, 1, size)
		if _, err := from.WriteTo(data, c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		want = append(want, received{data: data, from: from.LocalAddr().String()})
	}
	equal(t, read(t, c, 4, len(want)), want)
}

func TestTooLargeIsDroppedWhole(t *testing.T) {
	for _, slots := range []int{1, 8} {
		t.Run(fmt.Sprintf("slots=%d", slots), func(t *testing.T) {
			c := listenGRO(t, "udp4", "127.0.0.1:0")
			askForControl(t, c)
			from := sender(t, "127.0.0.1")
			address := from.LocalAddr().String()

			// readSize is one byte too short for the first burst's datagrams, but not for its last.
			tooLarge := numbered(0, 10, readSize+1)[:9*(readSize+1)+40]
			send(t, from, c, tooLarge, readSize+1, 0)
			fits := numbered(50, 2, readSize)
			send(t, from, c, fits, readSize, 0)
			equal(t, read(t, c, slots, 3), []received{
				{data: tooLarge[9*(readSize+1):], from: address},
				{data: fits[:readSize], from: address},
				{data: fits[readSize:], from: address},
			})
		})
	}
}

func TestReadOne(t *testing.T) {
	c := listenGRO(t, "udp4", "127.0.0.1:0")
	from := sender(t, "127.0.0.1")
	payload := numbered(0, 3, 100)
	send(t, from, c, payload, 100, 0)

	b := make([]byte, 200)
	n, addr, err := c.ReadFrom(b)
	if err != nil || !bytes.Equal(b[:n], payload[:100]) || addr.String() != from.LocalAddr().String() {
		t.Fatalf("ReadFrom: %q from %v, %v", b[:n], addr, err)
	}
	n, _, _, udpAddr, err := c.ReadMsgUDP(b, nil)
	if err != nil || !bytes.Equal(b[:n], payload[100:200]) || udpAddr.String() != from.LocalAddr().String() {
		t.Fatalf("ReadMsgUDP: %q from %v, %v", b[:n], udpAddr, err)
	}
}

func TestFlags(t *testing.T) {
	c := listenGRO(t, "udp4", "127.0.0.1:0")
	if _, err := c.ReadBatch(messages(1), unix.MSG_PEEK); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatalf("err = %v, want %v", err, unix.EOPNOTSUPP)
	}
	if n, err := c.ReadBatch(nil, 0); n != 0 || err != nil {
		t.Fatalf("ReadBatch without messages: %d, %v", n, err)
	}
}

// TestInterrupt covers how a reader is stopped: while it waits, and while datagrams are still to be delivered.
func TestInterrupt(t *testing.T) {
	past := time.Unix(1, 0)
	for _, test := range []struct {
		name string
		stop func(*conn) error
		want error
	}{
		{"deadline", func(c *conn) error { return c.SetReadDeadline(past) }, os.ErrDeadlineExceeded},
		{"close", (*conn).Close, net.ErrClosed},
	} {
		check := func(t *testing.T, ms []ipv4.Message, n int, err error) {
			t.Helper()
			if n != 0 || !errors.Is(err, test.want) {
				t.Fatalf("ReadBatch: %d, %v; want %v", n, err, test.want)
			}
			var failure net.Error
			if !errors.As(err, &failure) || failure.Timeout() != errors.Is(test.want, os.ErrDeadlineExceeded) {
				t.Fatalf("%#v is not a net.Error or does not tell a timeout", err)
			}
			for _, m := range ms {
				if m.N != 0 || m.NN != 0 || m.Addr != nil || m.Flags != 0 {
					t.Fatalf("a message of a failed read is not empty: %+v", m)
				}
			}
		}
		t.Run(test.name+" while waiting", func(t *testing.T) {
			c := listenGRO(t, "udp4", "127.0.0.1:0")
			ms := messages(8)
			type result struct {
				n   int
				err error
			}
			done := make(chan result)
			go func() {
				n, err := c.ReadBatch(ms, 0)
				done <- result{n, err}
			}()
			if err := test.stop(c); err != nil {
				t.Fatal(err)
			}
			r := <-done
			check(t, ms, r.n, r.err)
		})
		t.Run(test.name+" with datagrams left", func(t *testing.T) {
			c := listenGRO(t, "udp4", "127.0.0.1:0")
			send(t, sender(t, "127.0.0.1"), c, numbered(0, 10, 100), 100, 0)
			ms := messages(2)
			if n, err := c.ReadBatch(ms, 0); n != 2 || err != nil {
				t.Fatalf("ReadBatch: %d, %v", n, err)
			}
			if err := test.stop(c); err != nil {
				t.Fatal(err)
			}
			n, err := c.ReadBatch(ms, 0)
			check(t, ms, n, err)
		})
	}
	t.Run("goes on after a deadline", func(t *testing.T) {
		c := listenGRO(t, "udp4", "127.0.0.1:0")
		askForControl(t, c)
		from := sender(t, "127.0.0.1")
		payload := numbered(0, 10, 100)
		send(t, from, c, payload, 100, 0)
		got := read(t, c, 2, 2)
		if err := c.SetReadDeadline(past); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadBatch(messages(2), 0); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("err = %v, want %v", err, os.ErrDeadlineExceeded)
		}
		got = append(got, read(t, c, 3, 8)...)
		var want []received
		for datagram := range slices.Chunk(payload, 100) {
			want = append(want, received{data: datagram, from: from.LocalAddr().String()})
		}
		equal(t, got, want)
	})
}

func TestConcurrentReaders(t *testing.T) {
	const bursts, datagrams, size = 20, 10, 200
	c := listenGRO(t, "udp4", "127.0.0.1:0")
	from := sender(t, "127.0.0.1")
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make(chan uint32)
	done := make(chan error, 2)
	for range 2 {
		go func() {
			ms := messages(3)
			for {
				n, err := c.ReadBatch(ms, 0)
				if err != nil {
					done <- err
					return
				}
				for _, m := range ms[:n] {
					got <- binary.BigEndian.Uint32(m.Buffers[0])
				}
			}
		}()
	}
	seen := make(map[uint32]bool)
	for burst := range bursts {
		send(t, from, c, numbered(burst*datagrams, datagrams, size), size, 0)
		for range datagrams {
			select {
			case number := <-got:
				seen[number] = true
			case err := <-done:
				t.Fatalf("after %d datagrams: %v", len(seen), err)
			}
		}
	}
	if len(seen) != bursts*datagrams {
		t.Fatalf("%d different datagrams arrived of %d", len(seen), bursts*datagrams)
	}
	c.Close()
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
}

// TestReadDoesNotAllocate allows for the source address that x/net makes for each merged datagram, and for nothing
// per datagram.
func TestReadDoesNotAllocate(t *testing.T) {
	c := listenGRO(t, "udp4", "127.0.0.1:0")
	from := sender(t, "127.0.0.1")
	payload := numbered(0, 40, 1000)
	ms := messages(8)
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	burst := func() {
		send(t, from, c, payload, 1000, 0)
		for left := 40; left > 0; {
			n, err := c.ReadBatch(ms, 0)
			if err != nil {
				t.Fatal(err)
			}
			left -= n
		}
	}
	burst() // the buffers
	if allocs := testing.AllocsPerRun(20, burst); allocs > 15 {
		t.Fatalf("%.0f allocations for a burst of 40 datagrams", allocs)
	}
}
