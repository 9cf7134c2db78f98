package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// runCLI runs one command line in this process.
func runCLI(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, &session{stdout: &out, stderr: &errs, getenv: func(string) string { return "" }})
	return code, out.String(), errs.String()
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := runCLI(t, args...)
	if code != exitOK {
		t.Fatalf("signet %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func TestHelpIsComplete(t *testing.T) {
	_, overview, _ := runCLI(t)
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(overview, "\n  "+c.name+" ") {
				t.Error("the overview does not name it")
			}
			code, help, _ := runCLI(t, c.name, "--help")
			if code != exitOK {
				t.Errorf("exit code %d", code)
			}
			for _, want := range append([]string{"signet " + c.name, "--json", "Examples:"}, c.examples...) {
				if !strings.Contains(help, want) {
					t.Errorf("help lacks %q", want)
				}
			}
			if len(c.examples) == 0 || c.details == "" || c.summary == "" {
				t.Error("examples, details or summary are missing")
			}
		})
	}
}

// TestExamplesParse reads the examples of the help texts and of the documents
// that users copy from.
func TestExamplesParse(t *testing.T) {
	var lines []string
	for _, c := range commands() {
		lines = append(lines, c.examples...)
	}
	documented := documentedLines(t, "../../docs/operators.md")
	if len(documented) < 10 {
		t.Errorf("only %d command lines in the operators' page", len(documented))
	}
	for _, line := range append(lines, documented...) {
		t.Run(line, func(t *testing.T) {
			args := commandLine(line)
			c, ok := find(args[0])
			if !ok {
				t.Fatalf("unknown command %q", args[0])
			}
			fs, _ := c.flags(&session{})
			rest, err := parse(fs, args[1:])
			if err != nil {
				t.Fatal(err)
			}
			if len(rest) < c.minArgs || len(rest) > c.maxArgs {
				t.Errorf("arguments %q: want %d to %d", rest, c.minArgs, c.maxArgs)
			}
		})
	}
}

// documentedLines returns the command lines in the code blocks of a page.
func documentedLines(t *testing.T, path string) []string {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	inCode := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		} else if inCode && len(commandLine(line)) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// commandLine returns the arguments of signet in a shell line, nil if the line is
// about something else.
func commandLine(line string) []string {
	line, _, _ = strings.Cut(line, " #")
	line, _, _ = strings.Cut(line, " > ")
	words := strings.Fields(line)
	for i, word := range words {
		if word == "signet" {
			return words[i+1:]
		}
		if !strings.Contains(word, "=") && word != "sudo" {
			return nil
		}
	}
	return nil
}

func TestFlagsStandAnywhere(t *testing.T) {
	for name, args := range map[string][]string{
		"before":   {"issue", "--keys", "K", "--valid-for", "2h", "greeter"},
		"after":    {"issue", "greeter", "--keys", "K", "--valid-for", "2h"},
		"between":  {"issue", "--keys=K", "greeter", "-valid-for=2h"},
		"then end": {"issue", "--keys", "K", "--valid-for", "2h", "--", "greeter"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			mustRun(t, "init", "--trust-domain", "shop.internal", root)
			for i, arg := range args {
				args[i] = strings.Replace(arg, "K", root, 1)
			}
			if out := mustRun(t, args...); !strings.Contains(out, "in 2 hours") && !strings.Contains(out, "in 120 minutes") {
				t.Errorf("the flags had no effect:\n%s", out)
			}
		})
	}
}
