package udp

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func TestSplit(t *testing.T) {
	tos := controlMessage(unix.IPPROTO_IP, unix.IP_TOS, []byte{2})
	info := controlMessage(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, 20))
	size := func(n int32) []byte {
		return controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, uint32(n)))
	}
	overlong := bytes.Clone(tos)
	binary.NativeEndian.PutUint32(overlong, math.MaxInt32)

	tests := []struct {
		name    string
		data    string
		control []byte
		flags   int
		want    []string
		rest    []byte
	}{
		{name: "no control messages", data: "abcdef", want: []string{"abcdef"}},
		{name: "not merged", data: "abcdef", control: tos, want: []string{"abcdef"}, rest: tos},
		{name: "even", data: "abcdef", control: size(2), want: []string{"ab", "cd", "ef"}},
		{name: "shorter last", data: "abcde", control: size(2), want: []string{"ab", "cd", "e"}},
		{name: "single bytes", data: "abc", control: size(1), want: []string{"a", "b", "c"}},
		{name: "size of all data", data: "abc", control: size(3), want: []string{"abc"}},
		{name: "size beyond data", data: "abc", control: size(math.MaxInt32), want: []string{"abc"}},
		{name: "empty datagram", data: "", control: tos, want: []string{""}, rest: tos},
		{name: "empty datagram with size", data: "", control: size(5), want: []string{""}},
		{name: "size first", data: "abc", control: join(size(2), tos, info), want: []string{"ab", "c"}, rest: join(tos, info)},
		{name: "size between", data: "abc", control: join(tos, size(2), info), want: []string{"ab", "c"}, rest: join(tos, info)},
		{name: "size last", data: "abc", control: join(tos, info, size(2)), want: []string{"ab", "c"}, rest: join(tos, info)},
		{name: "last without padding", data: "abc", control: join(size(2), tos)[:len(size(2))+unix.CmsgLen(1)],
			want: []string{"ab", "c"}, rest: tos[:unix.CmsgLen(1)]},

		{name: "size zero", data: "abc", control: size(0)},
		{name: "size negative", data: "abc", control: size(-1)},
		{name: "size least int", data: "abc", control: size(math.MinInt32)},
		{name: "size twice", data: "abc", control: join(size(2), size(2))},
		{name: "size without body", data: "abc", control: controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, nil)},
		{name: "size short", data: "abc", control: controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{2, 0})},
		{name: "size long", data: "abc", control: controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, make([]byte, 8))},
		{name: "header cut short", data: "abc", control: join(tos, size(2)[:unix.SizeofCmsghdr-1])},
		{name: "message longer than control", data: "abc", control: overlong},
		{name: "message shorter than its header", data: "abc", control: make([]byte, unix.SizeofCmsghdr)},
		{name: "data truncated", data: "abc", control: size(2), flags: unix.MSG_TRUNC},
		{name: "control truncated", data: "abc", control: tos, flags: unix.MSG_CTRUNC},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := split([]byte(test.data), bytes.Clone(test.control), test.flags)
			var got []string
			for datagram, ok := b.next(); ok; datagram, ok = b.next() {
				got = append(got, string(datagram))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("datagrams (-want +got):\n%s", diff)
			}
			if !bytes.Equal(b.control, test.rest) {
				t.Errorf("control messages:\n got %x\nwant %x", b.control, test.rest)
			}
		})
	}
}

func TestPut(t *testing.T) {
	b := burst{control: []byte("control"), flags: unix.MSG_EOR}
	datagram := []byte("datagram")

	t.Run("control messages that do not fit", func(t *testing.T) {
		m := ipv4.Message{Buffers: [][]byte{make([]byte, 100)}, OOB: make([]byte, len(b.control)-1), NN: 1}
		if !b.put(&m, datagram) {
			t.Fatal("the datagram was refused")
		}
		if m.NN != 0 || m.Flags != unix.MSG_EOR|unix.MSG_CTRUNC || string(m.Buffers[0][:m.N]) != "datagram" {
			t.Fatalf("got %+v", m)
		}
	})
	for name, buffers := range map[string][][]byte{
		"no buffer":        nil,
		"nil buffer":       {nil},
		"buffer too short": {make([]byte, len(datagram)-1)},
	} {
		t.Run(name, func(t *testing.T) {
			m := ipv4.Message{Buffers: buffers, N: -1}
			if b.put(&m, datagram) || m.N != -1 {
				t.Fatalf("a datagram that does not fit was delivered: %+v", m)
			}
		})
	}
}

// FuzzSplit checks for any control messages that what is delivered is the data, whole and in order, cut into
// pieces of which only the last is shorter; or nothing at all.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("abcdefg"), controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{2, 0, 0, 0}), 0)
	f.Add([]byte("abcdefg"), controlMessage(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{0, 0, 0, 0x80}), 0)
	f.Add([]byte("abcdefg"), controlMessage(unix.IPPROTO_IP, unix.IP_TOS, []byte{1}), 0)
	f.Add([]byte(""), []byte("no control message"), unix.MSG_TRUNC)
	f.Fuzz(func(t *testing.T, data, control []byte, flags int) {
		original := bytes.Clone(data)
		b := split(data, bytes.Clone(control), flags)
		if len(b.control) > len(control) {
			t.Fatalf("%d bytes of control messages became %d", len(control), len(b.control))
		}
		var pieces [][]byte
		for piece, ok := b.next(); ok; piece, ok = b.next() {
			pieces = append(pieces, piece)
		}
		if len(pieces) == 0 {
			return
		}
		if !bytes.Equal(bytes.Join(pieces, nil), original) {
			t.Fatalf("%q was split into %q", original, pieces)
		}
		last := len(pieces) - 1
		for i, piece := range pieces[:last] {
			if len(piece) != len(pieces[0]) || len(piece) == 0 {
				t.Fatalf("piece %d has %d bytes, the first %d", i, len(piece), len(pieces[0]))
			}
		}
		if len(pieces[last]) > len(pieces[0]) || last > 0 && len(pieces[last]) == 0 {
			t.Fatalf("the last piece has %d bytes, the first %d", len(pieces[last]), len(pieces[0]))
		}
		if _, _, ok := takeSegmentSize(bytes.Clone(b.control)); !ok {
			t.Fatalf("the control messages left over do not parse: %x", b.control)
		}
	})
}

// controlMessage encodes one control message with its padding.
func controlMessage(level, kind int32, body []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(body)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(body)))
	copy(b[unix.CmsgSpace(0):], body)
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
