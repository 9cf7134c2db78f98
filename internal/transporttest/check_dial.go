package transporttest

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go-micro.dev/v4/transport"
)

func dialChecks() []check {
	return []check{
		{name: "dial/options", run: dialOptions},
		{name: "dial/WithConnClose is a header", needs: ConnCloseHeader, run: connClose},
		{name: "dial/no header without WithConnClose", run: noConnClose},
		{name: "dial/receive before send", run: recvFirst},
		{name: "dial/remote is the dialled address", run: remoteIsDialled},
		{name: "dial/host name", needs: HostNames, run: hostName},
		{name: "dial/ends have addresses", run: endAddresses},
		{name: "dial/closed port", run: closedPort},
		{name: "dial/silent port within WithTimeout", run: silentPort(300*time.Millisecond, transport.WithTimeout(300*time.Millisecond))},
		{name: "dial/silent port within the default", run: silentPort(transport.DefaultDialTimeout)},
		{name: "dial/malformed address", run: malformedAddress},
	}
}

// dialOptions: every option that go-micro passes, alone and together.
// WithTimeout(0) means no timeout, and is not a timeout of nothing.
func dialOptions(e *env) error {
	s := e.serve(anyPort, echo)
	for name, opts := range map[string][]transport.DialOption{
		"none":             nil,
		"WithStream":       {transport.WithStream()},
		"WithTimeout":      {transport.WithTimeout(time.Minute)},
		"WithTimeout(0)":   {transport.WithTimeout(0)},
		"WithConnClose":    {transport.WithConnClose()},
		"all":              {transport.WithStream(), transport.WithTimeout(time.Minute), transport.WithConnClose()},
		"verify, as usual": {transport.WithInsecureSkipVerify(false)},
	} {
		c, err := e.tryDial(s.Addr(), opts...)
		if err != nil {
			return fmt.Errorf("Dial with %s: %w", name, err)
		}
		if err := e.echoed(c, message(name)); err != nil {
			return fmt.Errorf("Dial with %s: %w", name, err)
		}
	}
	return nil
}

// connClose: the server ends a connection after the message that asks for it,
// and finds the wish in the headers.
func connClose(e *env) error {
	p := e.pair(transport.WithConnClose())
	asyncSend(p.client, message("last"))
	told := message("last")
	told.Header["Connection"] = "close"
	return e.expect(p.server, told)
}

func noConnClose(e *env) error {
	p := e.pair()
	asyncSend(p.client, message("more to come"))
	m, err := e.recv(p.server)
	if err != nil {
		return fmt.Errorf("Recv: %w", err)
	}
	if v, ok := m.Header["Connection"]; ok {
		return fmt.Errorf("the server was told Connection: %q", v)
	}
	return nil
}

// recvFirst: a stream's reader may start before anything was sent.
func recvFirst(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr(), transport.WithStream())
	entered := make(chan struct{})
	done := make(chan error, 1)
	want := message("hello")
	go func() {
		var m transport.Message
		close(entered)
		err := c.Recv(&m)
		if err == nil {
			err = same(&m, want)
		}
		done <- err
	}()
	<-entered
	if err := e.send(c, want); err != nil {
		return fmt.Errorf("Send beside a Recv: %w", err)
	}
	return e.wait("the Recv that came first", done)
}

// remoteIsDialled: util/pool gets connections by the dialled address and puts
// them back under Remote. Where the two differ, none is used twice.
func remoteIsDialled(e *env) error {
	s := e.serve(anyPort, echo)
	c := e.dial(s.Addr())
	if c.Remote() != s.Addr() {
		return fmt.Errorf("Remote() = %q before use, dialled %q", c.Remote(), s.Addr())
	}
	if err := e.echoed(c, message("hello")); err != nil {
		return err
	}
	if c.Remote() != s.Addr() {
		return fmt.Errorf("Remote() = %q after use, dialled %q", c.Remote(), s.Addr())
	}
	return nil
}

func hostName(e *env) error {
	c, err := e.tryDial(byName(e.serve(anyPort, echo)))
	if err != nil {
		return fmt.Errorf("Dial: %w", err)
	}
	return e.echoed(c, message("hello"))
}

// byName is a server's address with the host's name in place of its IP.
func byName(s *serving) string {
	_, port, _ := net.SplitHostPort(s.Addr())
	return net.JoinHostPort("localhost", port)
}

// endAddresses: go-micro's server logs them and puts them in the metadata.
func endAddresses(e *env) error {
	p := e.pair()
	for what, addr := range map[string]string{
		"client's Local": p.client.Local(), "client's Remote": p.client.Remote(),
		"server's Local": p.server.Local(), "server's Remote": p.server.Remote(),
	} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("the %s is not host:port: %w", what, err)
		}
	}
	return nil
}

// closedPort: a port that a listener has just left.
func closedPort(e *env) error {
	l, err := e.tr.Listen(anyPort)
	if err != nil {
		return fmt.Errorf("Listen: %w", err)
	}
	addr := l.Addr()
	if err := e.within("Close of the listener", l.Close); err != nil {
		return fmt.Errorf("Close of the listener: %w", err)
	}
	return e.mustNotReach(addr, 2*time.Second, transport.WithTimeout(2*time.Second))
}

// silentPort: a port that takes packets and never answers, nor refuses.
func silentPort(limit time.Duration, opts ...transport.DialOption) func(*env) error {
	return func(e *env) error {
		deaf, err := net.ListenPacket("udp", anyPort)
		if err != nil {
			e.Fatal(err)
		}
		defer deaf.Close()
		return e.mustNotReach(deaf.LocalAddr().String(), limit, opts...)
	}
}

// mustNotReach: nobody is there, and go-micro's caller has to hear so in time.
// The error may come from Dial, or from the first use of a socket that costs
// nothing to make.
func (e *env) mustNotReach(addr string, limit time.Duration, opts ...transport.DialOption) error {
	const slack = 3 * time.Second
	start := time.Now()
	c, err := e.tryDial(addr, opts...)
	if err == nil {
		err = e.send(c, message("anybody?"))
	}
	if err == nil {
		_, err = e.recv(c)
	}
	took := time.Since(start)
	switch {
	case err == nil:
		return errors.New("nobody is there, but an answer came")
	case errors.Is(err, errBlocked):
		return err
	case took > limit+slack:
		return fmt.Errorf("told after %v, the dial timeout is %v", took, limit)
	}
	return nil
}

func malformedAddress(e *env) error {
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:70000"} {
		if err := e.within("Dial", func() error {
			c, err := e.tr.Dial(addr)
			if err != nil {
				return nil
			}
			defer c.Close()
			return fmt.Errorf("Dial(%q) found somebody", addr)
		}); err != nil {
			return err
		}
	}
	return nil
}
