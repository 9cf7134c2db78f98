package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-signet/signet/identity"
	"github.com/go-signet/signet/internal/keys"
)

// Exit codes, promised in the help text.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// session is what a command may touch of the process it runs in.
type session struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stdout is a terminal
	getenv         func(string) string
	json           bool // --json was given
}

// readOptions say how this session reads identity directories.
func (s *session) readOptions(groupReadable bool) keys.ReadOptions {
	return keys.ReadOptions{GroupReadable: groupReadable || s.getenv(identity.EnvGroupReadable) == "true"}
}

// action runs a command once its flags are parsed.
type action func(s *session, args []string) error

// command is one verb. Its file holds everything about it.
type command struct {
	name             string
	synopsis         string // arguments, as help shows them
	summary          string // one line for the list of commands
	details          string // the rest of its help
	examples         []string
	minArgs, maxArgs int
	setup            func(*flag.FlagSet) action
}

// commands lists the verbs in the order in which an operator meets them.
func commands() []command {
	return []command{
		initCommand(), issueCommand(), renewCommand(), revokeCommand(),
		cardCommand(), inspectCommand(), verifyCommand(), doctorCommand(), versionCommand(),
	}
}

// usageError is a wrong command line, exit code 2.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

func usagef(format string, args ...any) error {
	return &usageError{reason: fmt.Sprintf(format, args...)}
}

// hintError is a failure together with what to do about it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hintError{err: err, hint: fmt.Sprintf(format, args...)}
}

// errChecksFailed ends a command whose output already says what is wrong.
var errChecksFailed = errors.New("a check failed")

// run executes one command line and returns the exit code.
func run(args []string, s *session) int {
	if len(args) == 0 {
		printHelp(s.stdout)
		return exitOK
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return runHelp(rest, s)
	case "-version", "--version":
		name = "version"
	}
	c, ok := find(name)
	if !ok {
		fmt.Fprintf(s.stderr, "signet: unknown command %s\n  run 'signet help' for the list of commands\n", printable(name))
		return exitUsage
	}
	return s.report(c, c.run(rest, s))
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func runHelp(args []string, s *session) int {
	if len(args) == 0 {
		printHelp(s.stdout)
		return exitOK
	}
	c, ok := find(args[0])
	if !ok || len(args) > 1 {
		fmt.Fprintf(s.stderr, "signet help: unknown command %s\n  run 'signet help' for the list of commands\n",
			printable(strings.Join(args, " ")))
		return exitUsage
	}
	c.printHelp(s.stdout)
	return exitOK
}

// run parses the command line and acts on it. Flags may stand before, between
// and after the arguments; everything after "--" is an argument.
func (c command) run(args []string, s *session) error {
	fs, act := c.flags(s)
	args, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		c.printHelp(s.stdout)
		return nil
	}
	if err != nil {
		return usagef("%s", err)
	}
	if len(args) < c.minArgs || len(args) > c.maxArgs {
		return usagef("got %d arguments, want: signet %s", len(args), strings.TrimSpace(c.name+" "+c.synopsis))
	}
	if slices.Contains(args, "") {
		return usagef("an argument is empty, want: signet %s %s", c.name, c.synopsis)
	}
	return act(s, args)
}

func (c command) flags(s *session) (*flag.FlagSet, action) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.BoolVar(&s.json, "json", false, "print one JSON object instead of text")
	return fs, c.setup(fs)
}

func parse(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(positional, rest...), nil
		}
		if len(rest) == 0 {
			return positional, nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

// report prints an error with its remedy and maps it to an exit code.
func (s *session) report(c command, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errChecksFailed) {
		return exitFailed
	}
	fmt.Fprintf(s.stderr, "signet %s: %s\n", c.name, printable(err.Error()))
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		fmt.Fprintf(s.stderr, "  run 'signet help %s' for its flags and examples\n", c.name)
		return exitUsage
	}
	if hint := (*hintError)(nil); errors.As(err, &hint) {
		fmt.Fprintf(s.stderr, "  %s\n", printable(hint.hint))
	}
	return exitFailed
}
