// Package natsmitm is a man in the middle between NATS clients and their server: it keeps
// all that passes, and hands every message for a client to the test, which says what
// becomes of it. It understands as much of the NATS client protocol, in clear, as that
// takes.
package natsmitm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Message is one that the server delivers to a client.
type Message struct {
	Subject string
	Reply   string
	Header  []byte // as on the wire; nil if there is none
	Payload []byte
}

// Clone copies a message.
func (m Message) Clone() Message {
	m.Header, m.Payload = bytes.Clone(m.Header), bytes.Clone(m.Payload)
	return m
}

// Proxy is the man in the middle.
type Proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	on     func(Message) []Message
	seen   bytes.Buffer
	conns  map[*conn]bool
	closed bool
}

// conn is one client with its connection to the server.
type conn struct {
	client, server net.Conn

	mu   sync.Mutex        // writes to the client
	subs map[string]string // sid → subject
}

// New listens on a free port of the loopback interface, for a server. It ends with the
// test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, conns: make(map[*conn]bool)}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where clients connect to, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// On says what becomes of the messages from now on: f gets each, and what it returns is
// delivered in its place. nil delivers all.
func (p *Proxy) On(f func(Message) []Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = f
}

// Saw reports whether some bytes have passed, in one direction or the other.
func (p *Proxy) Saw(part []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.seen.Bytes(), part)
}

// Inject delivers a message to all clients that subscribe to exactly its subject, and
// returns how many they are.
func (p *Proxy) Inject(m Message) (clients int) {
	p.mu.Lock()
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		var sids []string
		for sid, subject := range c.subs {
			if subject == m.Subject {
				sids = append(sids, sid)
			}
		}
		c.mu.Unlock()
		for _, sid := range sids {
			if c.write(m, sid) == nil {
				clients++
			}
		}
	}
	return clients
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &conn{client: client, server: server, subs: make(map[string]string)}
		p.mu.Lock()
		closed := p.closed
		p.conns[c] = true
		p.mu.Unlock()
		if closed {
			c.close()
			return
		}
		p.wg.Go(func() { p.serve(c, p.fromClient) })
		p.wg.Go(func() { p.serve(c, p.fromServer) })
	}
}

func (p *Proxy) serve(c *conn, side func(*conn) error) {
	_ = side(c) // how a connection ends is the peers' business
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (c *conn) close() {
	c.client.Close()
	c.server.Close()
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	p.listener.Close()
	for _, c := range conns {
		c.close()
	}
	p.wg.Wait()
}

func (p *Proxy) keep(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.Write(data)
}

// fromClient forwards what a client says, and notes its subscriptions.
func (p *Proxy) fromClient(c *conn) error {
	r := bufio.NewReader(c.client)
	for {
		line, fields, payload, err := frame(r, "PUB", "HPUB")
		if err != nil {
			return err
		}
		p.keep(line)
		p.keep(payload)
		c.mu.Lock()
		switch {
		case len(fields) >= 3 && fields[0] == "SUB":
			c.subs[fields[len(fields)-1]] = fields[1]
		case len(fields) == 2 && fields[0] == "UNSUB":
			delete(c.subs, fields[1])
		}
		c.mu.Unlock()
		if _, err := c.server.Write(append(line, payload...)); err != nil {
			return err
		}
	}
}

// fromServer forwards what the server says, but for the messages, which are the test's.
func (p *Proxy) fromServer(c *conn) error {
	r := bufio.NewReader(c.server)
	for {
		line, fields, payload, err := frame(r, "MSG", "HMSG")
		if err != nil {
			return err
		}
		p.keep(line)
		p.keep(payload)
		if payload == nil {
			if err := c.forward(line); err != nil {
				return err
			}
			continue
		}
		m, sid, err := parse(fields, payload)
		if err != nil {
			return err
		}
		p.mu.Lock()
		on := p.on
		p.mu.Unlock()
		out := []Message{m}
		if on != nil {
			out = on(m.Clone())
		}
		for _, m := range out {
			if err := c.write(m, sid); err != nil {
				return err
			}
		}
	}
}

func (c *conn) forward(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.client.Write(data)
	return err
}

func (c *conn) write(m Message, sid string) error {
	var out bytes.Buffer
	reply := m.Reply
	if reply != "" {
		reply += " "
	}
	if m.Header == nil {
		fmt.Fprintf(&out, "MSG %s %s %s%d\r\n", m.Subject, sid, reply, len(m.Payload))
	} else {
		fmt.Fprintf(&out, "HMSG %s %s %s%d %d\r\n", m.Subject, sid, reply, len(m.Header), len(m.Header)+len(m.Payload))
	}
	out.Write(m.Header)
	out.Write(m.Payload)
	out.WriteString("\r\n")
	return c.forward(out.Bytes())
}

// frame reads a line, and the payload that follows it if it begins with one of the
// verbs: all of it, with the line's end.
func frame(r *bufio.Reader, verbs ...string) (line []byte, fields []string, payload []byte, err error) {
	if line, err = r.ReadBytes('\n'); err != nil {
		return nil, nil, nil, err
	}
	fields = strings.Fields(string(line))
	if len(fields) == 0 || !slices.Contains(verbs, fields[0]) {
		return line, fields, nil, nil
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return nil, nil, nil, err
	}
	payload = make([]byte, size+2)
	_, err = io.ReadFull(r, payload)
	return line, fields, payload, err
}

// parse makes a message of what the server has sent.
func parse(fields []string, payload []byte) (m Message, sid string, err error) {
	payload = payload[:len(payload)-2]
	sizes := 1
	if fields[0] == "HMSG" {
		sizes = 2
	}
	if len(fields) < 3+sizes {
		return m, "", fmt.Errorf("natsmitm: %q", fields)
	}
	m.Subject, sid = fields[1], fields[2]
	if len(fields) > 3+sizes {
		m.Reply = fields[3]
	}
	if sizes == 2 {
		n, err := strconv.Atoi(fields[len(fields)-2])
		if err != nil || n > len(payload) {
			return m, "", fmt.Errorf("natsmitm: %q", fields)
		}
		m.Header, payload = payload[:n], payload[n:]
	}
	m.Payload = payload
	return m, sid, nil
}
