package main

import (
	"context"
	"strings"
)

// attack is a call that must fail before any handler runs.
type attack struct {
	what   string // who does what
	reason string // words that the error must hold: a failure for another reason proves nothing
	spared []*Greeter
	try    func(context.Context) error
}

// repel carries out an attack and promises that it fails as it should.
func (s *stage) repel(ctx context.Context, a attack) {
	s.attack("%s", a.what)
	before := runs(a.spared)
	err := a.try(ctx)
	ran := runs(a.spared) - before
	const promised = "refused, and no handler ran"
	switch {
	case err == nil:
		s.promise(promised, false, "the call went through")
	case ran > 0:
		s.promise(promised, false, "a handler ran %d times, and only then came: %v", ran, err)
	case !strings.Contains(err.Error(), a.reason):
		s.promise(promised, false, "it failed for another reason than %q: %v", a.reason, err)
	default:
		s.promise(promised, true, "")
		s.show("%v", err)
	}
}

func runs(handlers []*Greeter) int64 {
	var n int64
	for _, h := range handlers {
		n += h.calls.Load()
	}
	return n
}
