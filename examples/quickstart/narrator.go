package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// width is where lines are wrapped, in columns.
const width = 96

// narrator writes the story and keeps count of its promises. Handlers speak
// through it too, from goroutines of their own.
type narrator struct {
	w      io.Writer
	colour bool
	took   time.Duration

	mu     sync.Mutex
	kept   int
	broken []string
}

// Colours, as terminals number them.
const (
	plain  = ""
	bold   = "1"
	faint  = "2"
	red    = "1;31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (n *narrator) paint(colour, text string) string {
	if !n.colour || colour == plain || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line writes text behind a mark, wrapped so that it stays beside the mark.
func (n *narrator) line(indent int, markColour, mark, colour, text string) {
	hang := indent + utf8.RuneCountInString(mark)
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, part := range wrap(text, width-hang) {
		if i == 0 {
			fmt.Fprintf(n.w, "%*s%s%s\n", indent, "", n.paint(markColour, mark), n.paint(colour, part))
		} else {
			fmt.Fprintf(n.w, "%*s%s\n", hang, "", n.paint(colour, part))
		}
	}
}

func (n *narrator) opening() {
	n.line(0, bold, "Signet", plain, ": go-micro services that prove who they are.")
	n.line(0, plain, "", faint, "Each ✓ was checked just now, on this machine.")
}

func (n *narrator) chapter(number int, title string) {
	n.line(0, plain, "", plain, "")
	n.line(0, bold, fmt.Sprintf("%d  ", number), bold, title)
}

// say tells what is being done.
func (n *narrator) say(format string, args ...any) {
	n.line(2, faint, "· ", plain, fmt.Sprintf(format, args...))
}

// hear repeats what somebody in the story says.
func (n *narrator) hear(who, format string, args ...any) {
	n.line(4, cyan, who+" │ ", plain, fmt.Sprintf(format, args...))
}

// show quotes something that was observed.
func (n *narrator) show(format string, args ...any) {
	n.line(6, plain, "", faint, fmt.Sprintf(format, args...))
}

// attack announces one.
func (n *narrator) attack(format string, args ...any) {
	n.line(2, yellow, "⚔ ", plain, fmt.Sprintf(format, args...))
}

// promise records whether what was promised has happened; otherwise, but says
// what did.
func (n *narrator) promise(what string, kept bool, but string, args ...any) {
	n.mu.Lock()
	if kept {
		n.kept++
	} else {
		n.broken = append(n.broken, what)
	}
	n.mu.Unlock()
	if kept {
		n.line(2, green, "✓ ", plain, what)
		return
	}
	n.line(2, red, "✗ ", red, "BROKEN PROMISE: "+what)
	n.line(4, plain, "", plain, "but "+fmt.Sprintf(but, args...))
}

// summary ends the story and returns the exit status.
func (n *narrator) summary() int {
	n.line(0, plain, "", plain, "")
	n.mu.Lock()
	kept, broken := n.kept, n.broken
	n.mu.Unlock()
	if len(broken) > 0 {
		n.line(0, red, "✗ ", red, fmt.Sprintf("%d of %d promises were broken:", len(broken), kept+len(broken)))
		for _, what := range broken {
			n.line(2, red, "✗ ", plain, what)
		}
		return 1
	}
	if kept == 0 {
		n.line(0, red, "✗ ", red, "nothing was checked")
		return 1
	}
	n.line(0, green, "✓ ", bold, fmt.Sprintf("%d promises, all kept, in %.1f s.", kept, n.took.Seconds()))
	n.line(0, plain, "", plain, "Next: examples/README.md runs two processes with no line of code changed.")
	return 0
}

// wrap breaks text at spaces into lines of at most columns; a longer word gets a
// line of its own.
func wrap(text string, columns int) []string {
	lines := []string{}
	line := ""
	for _, word := range strings.Split(text, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
