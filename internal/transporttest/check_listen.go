package transporttest

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"go-micro.dev/v4/transport"
)

func listenChecks() []check {
	return []check{
		{name: "listen/address is host and port", run: listenAddress},
		{name: "listen/IPv6", run: listenIPv6},
		{name: "listen/port range", needs: PortRanges, run: portRange},
		{name: "listen/address in use", run: addressInUse},
		{name: "listen/malformed address", run: malformedListen},
		{name: "listen/close again", needs: IdempotentClose, run: closeListenerAgain},
		{name: "listen/close frees the port", needs: PortReuse, run: freesPort},
		{name: "listen/close spares other sockets", run: sparesOthers},
		{name: "listen/close ends its sockets", needs: CloseEndsSockets, run: endsSockets},
	}
}

// listenAddress: the server splits it and registers it.
func listenAddress(e *env) error {
	for _, addr := range []string{anyPort, ":0", "0.0.0.0:0"} {
		s := e.serve(addr, echo)
		_, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			return fmt.Errorf("Listen(%q) has the address %q: %w", addr, s.Addr(), err)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("Listen(%q) has the address %q, without a port", addr, s.Addr())
		}
	}
	return nil
}

func listenIPv6(e *env) error {
	const addr = "[::1]:0"
	if l, err := net.ListenPacket("udp6", addr); err != nil {
		e.Logf("this host has no IPv6, so nothing was checked: %v", err)
		return nil
	} else if err := l.Close(); err != nil {
		e.Fatal(err)
	}
	s := e.serve(addr, echo)
	c := e.dial(s.Addr())
	if c.Remote() != s.Addr() {
		return fmt.Errorf("Remote() = %q, dialled %q", c.Remote(), s.Addr())
	}
	return e.echoed(c, message("hello"))
}

// portRange: the next free port of the range, and an error past the last.
// Other processes may take a port between finding the range and using it,
// hence the second chances.
func portRange(e *env) error {
	var err error
	for range 5 {
		if err = e.tryPortRange(freePorts(e)); err == nil {
			return nil
		}
	}
	return err
}

func (e *env) tryPortRange(first int) error {
	addr := fmt.Sprintf("127.0.0.1:%d-%d", first, first+2)
	var open []transport.Listener
	defer func() {
		for _, l := range open {
			_ = e.within("Close of the listener", l.Close)
		}
	}()
	for want := first; want <= first+2; want++ {
		l, err := e.tr.Listen(addr)
		if err != nil {
			return fmt.Errorf("Listen(%q): %w", addr, err)
		}
		open = append(open, l)
		if got := l.Addr(); got != fmt.Sprint("127.0.0.1:", want) {
			return fmt.Errorf("Listen(%q) took %s, want port %d", addr, got, want)
		}
	}
	if l, err := e.tr.Listen(addr); err == nil {
		open = append(open, l)
		return fmt.Errorf("Listen(%q) found a fourth port: %s", addr, l.Addr())
	}
	return nil
}

// freePorts finds three ports in a row that nobody uses, with TCP or UDP.
func freePorts(e *env) (first int) {
	for range 100 {
		l, err := net.Listen("tcp", anyPort)
		if err != nil {
			e.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if first+2 <= 65535 && free(first) && free(first+1) && free(first+2) {
			return first
		}
	}
	e.Fatal("no three free ports in a row")
	return 0
}

func free(port int) bool {
	addr := fmt.Sprint("127.0.0.1:", port)
	t, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer t.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

func addressInUse(e *env) error {
	s := e.serve(anyPort, echo)
	if l, err := e.tr.Listen(s.Addr()); err == nil {
		_ = l.Close()
		return fmt.Errorf("two listeners on %s", s.Addr())
	}
	return e.echoed(e.dial(s.Addr()), message("hello"))
}

func malformedListen(e *env) error {
	for _, addr := range []string{"127.0.0.1", "a:b:c"} {
		if l, err := e.tr.Listen(addr); err == nil {
			_ = l.Close()
			return fmt.Errorf("Listen(%q) made a listener on %s", addr, l.Addr())
		}
	}
	return nil
}

func closeListenerAgain(e *env) error {
	s := e.serve(anyPort, echo)
	for i := range 3 {
		if err := e.within("Close of the listener", s.Close); err != nil {
			return fmt.Errorf("Close %d: %w", i, err)
		}
	}
	return nil
}

// freesPort: Start after Stop, as soon as it can be. Clients are connected,
// and the socket of one is still open.
func freesPort(e *env) error {
	addr := anyPort
	for i := range 10 {
		l, err := e.tr.Listen(addr)
		if err != nil {
			return fmt.Errorf("Listen %d: %w", i, err)
		}
		addr = l.Addr()
		e.accept(l, echo)
		c, err := e.tryDial(addr, transport.WithStream())
		if err != nil {
			return fmt.Errorf("Dial %d: %w", i, err)
		}
		if err := e.echoed(c, message("hello")); err != nil {
			return fmt.Errorf("listener %d: %w", i, err)
		}
		if err := e.within("Close of the listener", l.Close); err != nil {
			return fmt.Errorf("Close %d: %w", i, err)
		}
	}
	return nil
}

// sparesOthers: a service that stops to listen still calls others.
func sparesOthers(e *env) error {
	stays, goes := e.serve(anyPort, echo), e.serve(anyPort, echo)
	kept := e.dial(stays.Addr(), transport.WithStream())
	lost := e.dial(goes.Addr(), transport.WithStream())
	for _, c := range []transport.Client{kept, lost} {
		if err := e.echoed(c, message("before")); err != nil {
			return err
		}
	}
	if err := e.within("Close of the listener", goes.Close); err != nil {
		return fmt.Errorf("Close of the listener: %w", err)
	}
	if err := e.echoed(kept, message("after")); err != nil {
		return fmt.Errorf("a socket of another listener: %w", err)
	}
	if err := e.echoed(e.dial(stays.Addr(), transport.WithStream()), message("new")); err != nil {
		return fmt.Errorf("a new socket of another listener: %w", err)
	}
	return nil
}

// endsSockets: after Close nobody is served, neither end is left waiting.
func endsSockets(e *env) error {
	p := e.pair()
	ended, err := e.recvStarted(p.client, p.server)
	if err != nil {
		return err
	}
	go func() {
		for p.server.Recv(new(transport.Message)) == nil {
		}
		p.release()
	}()
	if err := e.within("Close of the listener", p.listener.Close); err != nil {
		return fmt.Errorf("Close of the listener: %w", err)
	}
	if err := e.wait("the client's Recv", ended); err == nil || errors.Is(err, errBlocked) {
		return fmt.Errorf("the client's Recv returned %v, want an error", err)
	}
	_, err = signal(e, "the handler", p.returned)
	return err
}
