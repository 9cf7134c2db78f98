package signed_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/go-signet/signet/registry/signed"
	"go-micro.dev/v4/registry"
)

// ledger is an inner registry that writes down what is asked of it.
type ledger struct {
	*board
	name  string // "ledger", if empty
	keeps bool   // ignores a Register of what it knows
	carry bool   // tells watchers of a deletion in the words of Deregister

	mu     sync.Mutex
	calls  []call
	before func(call) error // before each call, which an error ends
}

type call struct {
	op      string // register or deregister
	service *registry.Service
	opts    registry.RegisterOptions
}

func newLedger() *ledger { return &ledger{board: newBoard()} }

func (l *ledger) String() string {
	if l.name == "" {
		return "ledger"
	}
	return l.name
}

func (l *ledger) Register(s *registry.Service, opts ...registry.RegisterOption) error {
	c := call{op: "register", service: unpin(textOf(s))}
	for _, o := range opts {
		o(&c.opts)
	}
	if err := l.note(c); err != nil {
		return err
	}
	if l.keeps && len(l.board.copies(s.Name)) > 0 {
		return nil
	}
	return l.board.Register(s)
}

func (l *ledger) Deregister(s *registry.Service, _ ...registry.DeregisterOption) error {
	if err := l.note(call{op: "deregister", service: unpin(textOf(s))}); err != nil {
		return err
	}
	if l.carry {
		l.board.mu.Lock()
		defer l.board.mu.Unlock()
		for _, n := range s.Nodes {
			if i := l.at(s.Name, n.Id); i >= 0 {
				l.records = slices.Delete(l.records, i, i+1)
			}
		}
		l.tell("delete", textOf(s))
		return nil
	}
	return l.board.Deregister(s)
}

func (l *ledger) note(c call) error {
	l.mu.Lock()
	l.calls = append(l.calls, c)
	before := l.before
	l.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(c)
}

// intercept has f called before each call.
func (l *ledger) intercept(f func(call) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = f
}

// take returns the calls so far, and begins anew.
func (l *ledger) take() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.calls
	l.calls = nil
	return out
}

// wantOps compares the calls so far with what they should be, and returns them.
func (l *ledger) wantOps(t testing.TB, want ...string) []call {
	t.Helper()
	calls := l.take()
	var got []string
	for _, c := range calls {
		op := c.op
		if len(c.service.Nodes) == 1 {
			if r, err := signed.Read(c.service.Nodes[0]); err != nil {
				op += " unsigned"
			} else if r.Withdrawn {
				op += " withdrawn"
			}
		}
		got = append(got, op)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("calls of the inner registry: got %q, want %q", got, want)
	}
	return calls
}

func textOf(s *registry.Service) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// read returns what the record of a call's node says.
func (c call) read(t testing.TB) signed.Reading {
	t.Helper()
	r, err := signed.Read(c.service.Nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}
