package udp

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	t.Run("offload where the kernel has it", func(t *testing.T) {
		pc := listen(t, Listen, "udp", "127.0.0.1:0")
		if got, want := GRO(pc), runtime.GOOS == "linux"; got != want {
			t.Fatalf("GRO = %v, want %v", got, want)
		}
	})
	t.Run("plain", func(t *testing.T) {
		pc := listen(t, ListenPlain, "udp", "127.0.0.1:0")
		if _, ok := pc.(*net.UDPConn); !ok || GRO(pc) {
			t.Fatalf("got %T with GRO %v, want a plain *net.UDPConn", pc, GRO(pc))
		}
	})
	t.Run("port in use", func(t *testing.T) {
		pc := listen(t, Listen, "udp", "127.0.0.1:0")
		second, err := Listen("udp", pc.LocalAddr().String())
		if err == nil {
			second.Close()
			t.Fatal("no error")
		}
	})
	for name, args := range map[string][2]string{
		"wrong network":   {"tcp", "127.0.0.1:0"},
		"unix network":    {"unixgram", "127.0.0.1:0"},
		"no port":         {"udp", "127.0.0.1"},
		"port range":      {"udp", "127.0.0.1:4000-4010"},
		"wrong IP family": {"udp4", "[::1]:0"},
	} {
		t.Run(name, func(t *testing.T) {
			pc, err := Listen(args[0], args[1])
			if err == nil {
				pc.Close()
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "udp: ") {
				t.Fatalf("error without prefix: %v", err)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	t.Run("not a UDP socket", func(t *testing.T) {
		pc := stranger{listen(t, ListenPlain, "udp", "127.0.0.1:0")}
		if got := Wrap(pc); got != net.PacketConn(pc) || GRO(got) {
			t.Fatalf("Wrap changed a %T into a %T", pc, got)
		}
	})
	t.Run("wrapped already", func(t *testing.T) {
		pc := listen(t, Listen, "udp", "127.0.0.1:0")
		if got := Wrap(pc); got != pc {
			t.Fatalf("Wrap changed a %T into a %T", pc, got)
		}
	})
	t.Run("closed socket", func(t *testing.T) {
		pc := listen(t, ListenPlain, "udp", "127.0.0.1:0")
		pc.Close()
		if got := Wrap(pc); got != pc {
			t.Fatalf("Wrap changed a closed socket into a %T", got)
		}
	})
	t.Run("nil socket", func(t *testing.T) {
		var pc *net.UDPConn
		if got := Wrap(pc); got != net.PacketConn(pc) {
			t.Fatalf("Wrap changed a nil socket into a %T", got)
		}
	})
	t.Run("close closes the socket", func(t *testing.T) {
		pc := listen(t, ListenPlain, "udp", "127.0.0.1:0")
		if err := Wrap(pc).Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := pc.WriteTo([]byte{0}, pc.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("err = %v, want %v", err, net.ErrClosed)
		}
	})
}

func TestBuffers(t *testing.T) {
	for name, open := range map[string]opener{"offload": Listen, "plain": ListenPlain} {
		t.Run(name, func(t *testing.T) {
			untouched, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer untouched.Close()
			before, err := ReceiveBuffer(untouched)
			if err != nil {
				t.Fatal(err)
			}
			pc := listen(t, open, "udp", "127.0.0.1:0")
			got, err := ReceiveBuffer(pc)
			if err != nil {
				t.Fatal(err)
			}
			if got <= before && got < BufferSize {
				t.Fatalf("receive buffer of %d bytes was not raised above the system's default of %d", got, before)
			}
			if got, err := SendBuffer(pc); err != nil || got <= 0 {
				t.Fatalf("SendBuffer = %d, %v", got, err)
			}
			pc.Close()
			if _, err := ReceiveBuffer(pc); err == nil {
				t.Fatal("no error for a closed socket")
			}
		})
	}
	t.Run("not a system socket", func(t *testing.T) {
		if _, err := ReceiveBuffer(stranger{listen(t, ListenPlain, "udp", "127.0.0.1:0")}); err == nil {
			t.Fatal("no error")
		}
	})
}

// stranger is a packet connection that is not a system socket as far as its methods tell.
type stranger struct{ net.PacketConn }

type opener func(network, addr string) (net.PacketConn, error)

func listen(t testing.TB, open opener, network, addr string) net.PacketConn {
	t.Helper()
	pc, err := open(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}
