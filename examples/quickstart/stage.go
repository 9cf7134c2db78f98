package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-signet/signet/identity"
	"go-micro.dev/v4/registry"
)

// chapter is one part of the story. run tells it, and promises on the stage what
// is checked; an error means that it could not be told at all, which ends the
// run.
type chapter struct {
	title string
	run   func(context.Context, *stage) error
}

// options say how to run.
type options struct {
	colour   bool
	chapters []chapter
}

// stage is what chapters share: a narrator, and the cast that the first chapter
// brings on.
type stage struct {
	*narrator
	dir       string // temporary, removed at the end
	authority *identity.Authority
	registry  registry.Registry
	greeter   *member
	caller    *member

	endings []func() error
}

// run tells the chapters and returns the exit status.
func run(ctx context.Context, w io.Writer, o options) int {
	n := &narrator{w: w, colour: o.colour}
	if err := tell(ctx, n, o.chapters); err != nil {
		n.promise("the story is told to its end", false, "%v", err)
	}
	return n.summary()
}

func tell(ctx context.Context, n *narrator, chapters []chapter) (err error) {
	dir, err := os.MkdirTemp("", "signet-quickstart-")
	if err != nil {
		return err
	}
	s := &stage{narrator: n, dir: dir}
	s.atEnd(func() error { return os.RemoveAll(dir) })
	defer func() {
		if endErr := s.end(); err == nil {
			err = endErr
		}
	}()
	start := time.Now()
	n.opening()
	for i, c := range chapters {
		n.chapter(i+1, c.title)
		if err := c.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.title, err)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", c.title, err)
		}
	}
	n.took = time.Since(start)
	return nil
}

// atEnd has f called when the run ends, the last one first.
func (s *stage) atEnd(f func() error) { s.endings = append(s.endings, f) }

// end leaves nothing running. It returns the first error.
func (s *stage) end() error {
	var first error
	for i := len(s.endings) - 1; i >= 0; i-- {
		if err := s.endings[i](); err != nil && first == nil {
			first = fmt.Errorf("leaving the stage: %w", err)
		}
	}
	s.endings = nil
	return first
}
