package transporttest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v4/transport"
	"go.uber.org/goleak"
)

// TestChecksFindDefects runs checks over transports with one defect each: a
// check that cannot fail proves nothing. Defects that http or memory have are
// found there; these are the others.
func TestChecksFindDefects(t *testing.T) {
	client := func(f func(transport.Socket) transport.Socket) func(transport.Socket, string) transport.Socket {
		return func(s transport.Socket, dialled string) transport.Socket {
			if dialled == "" {
				return s
			}
			return f(s)
		}
	}
	server := func(f func(transport.Socket) transport.Socket) func(transport.Socket, string) transport.Socket {
		return func(s transport.Socket, dialled string) transport.Socket {
			if dialled != "" {
				return s
			}
			return f(s)
		}
	}
	var turn sync.Mutex
	for _, d := range []struct {
		defect string
		m      mutant
		checks []string
	}{
		{"another name", mutant{name: "quick"},
			[]string{"transport/says its name"}},
		{"another Remote", mutant{socket: client(func(s transport.Socket) transport.Socket { return &renamed{s} })},
			[]string{"dial/remote is the dialled address", "pool/reuse by address"}},
		{"Recv wants a Send first", mutant{socket: client(func(s transport.Socket) transport.Socket { return &asking{Socket: s} })},
			[]string{"dial/receive before send"}},
		{"keeps the sender's memory", mutant{socket: client(func(s transport.Socket) transport.Socket { return &late{Socket: s} })},
			[]string{"memory/nothing is kept after Send"}},
		{"writes to the sender's message", mutant{socket: client(func(s transport.Socket) transport.Socket { return &marking{s} })},
			[]string{"memory/sent messages stay the sender's"}},
		{"hands out memory twice", mutant{socket: server(func(s transport.Socket) transport.Socket { return &shared{Socket: s} })},
			[]string{"memory/received messages are the receiver's"}},
		{"a client's last message is lost", mutant{socket: client(func(s transport.Socket) transport.Socket { return &forgetful{Socket: s} })},
			[]string{"flush/client sends and closes"}},
		{"a server's last message is lost", mutant{socket: server(func(s transport.Socket) transport.Socket { return &forgetful{Socket: s} })},
			[]string{"flush/server sends and closes", "flush/server sends and returns", "flush/server sends and the listener closes"}},
		{"messages overtake", mutant{socket: client(func(s transport.Socket) transport.Socket { return &swapped{Socket: s} })},
			[]string{"message/order", "concurrency/sends before receives"}},
		{"long bodies are cut", mutant{socket: client(func(s transport.Socket) transport.Socket { return &cutting{s, 65536} })},
			[]string{"message/sizes", "message/1 MiB", "call/bytes"}},
		{"empty bodies are not sent", mutant{socket: client(func(s transport.Socket) transport.Socket { return &skipping{s} })},
			[]string{"message/nil and empty parts"}},
		{"Close fails", mutant{socket: client(func(s transport.Socket) transport.Socket { return &complaining{s} })},
			[]string{"close/after the peer has closed", "close/after the listener has closed", "pool/expired connection is replaced", "pool/failed connection is not reused", "pool/close after the server left"}},
		{"sockets wait for each other", mutant{socket: server(func(s transport.Socket) transport.Socket { return &queueing{s, &turn} })},
			[]string{"load/stalled readers stall nobody else"}},
		{"handlers wait for each other", mutant{handler: oneAtATime},
			[]string{"accept/handlers run side by side"}},
	} {
		t.Run(d.defect, func(t *testing.T) {
			for _, name := range d.checks {
				t.Run(name, func(t *testing.T) { mustFail(t, name, d.m) })
			}
		})
	}
}

// oneAtATime runs the handlers of a listener in turn.
func oneAtATime(handle func(transport.Socket)) func(transport.Socket) {
	var turn sync.Mutex
	return func(s transport.Socket) {
		turn.Lock()
		defer turn.Unlock()
		handle(s)
	}
}

// mustFail runs a check over the http transport, without the defect and with.
func mustFail(t *testing.T, name string, defect mutant) {
	checks := slices.Concat(socketChecks(), serviceLevelChecks())
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	run := func(m mutant) error {
		newTransport := func(_ *testing.T, opts ...transport.Option) transport.Transport {
			m.Transport = transport.NewHTTPTransport(opts...)
			return &m
		}
		e := newEnv(t, "http", newTransport, HTTP(), checks[i].opts)
		e.patience = 2 * time.Second
		return checks[i].run(e)
	}
	if err := run(mutant{name: "http"}); err != nil {
		t.Errorf("without the defect: %v", err)
	}
	if err := run(defect); err == nil {
		t.Error("the check did not find the defect")
	} else {
		t.Log(err)
	}
}

// TestLeakIsFound: the last check of all.
func TestLeakIsFound(t *testing.T) {
	before := []goleak.Option{goleak.IgnoreCurrent()}
	held := make(chan struct{})
	go func() { <-held }()
	if err := noneLeft(before, 0); err == nil {
		t.Error("a goroutine that is left was not found")
	}
	close(held)
	if err := noneLeft(before, patience); err != nil {
		t.Error(err)
	}
}

func TestCapabilitiesAreKnown(t *testing.T) {
	for name, caps := range map[string]Caps{"http": HTTP(), "memory": Memory()} {
		for c, reason := range caps.Off {
			if !known(c) || reason == "" {
				t.Errorf("%s: capability %q, reason %q", name, c, reason)
			}
		}
	}
	if known("") || known("Sings") {
		t.Error("a capability that does not exist is known")
	}
}
