package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// field is one aligned line of a command's report.
type field struct{ name, value string }

// printFields writes a heading, then the fields in two aligned columns.
func (s *session) printFields(heading string, fields []field) error {
	fmt.Fprintf(s.stdout, "%s\n\n", printable(heading))
	tw := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
	for _, f := range fields {
		fmt.Fprintf(tw, "  %s\t%s\n", f.name, printable(f.value))
	}
	return tw.Flush()
}

// printNext tells what to do next, one command a line.
func (s *session) printNext(lines ...string) {
	for i, line := range lines {
		label := "     "
		if i == 0 {
			label = "\nNext:"
		}
		fmt.Fprintf(s.stdout, "%s %s\n", label, printable(line))
	}
}

// printJSON escapes what could drive a terminal, as printable does: the encoder
// leaves in place what is not ASCII, and DEL.
func (s *session) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() {
		if r == '\n' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(s.stdout, out.String())
	return err
}

func (s *session) warnf(format string, args ...any) {
	fmt.Fprintf(s.stderr, "warning: %s\n", printable(fmt.Sprintf(format, args...)))
}

// printable escapes what could drive a terminal: names and paths come from files
// and command lines.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == utf8.RuneError:
			b.WriteString(`\ufffd`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// shellWord quotes a path for the commands that are suggested.
func shellWord(path string) string {
	safe := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("/._-+=:@%", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !safe(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// moment shows a time in UTC together with its distance from now.
func moment(t, now time.Time) string {
	at := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if t.Before(now) {
		return at + " (" + span(now.Sub(t)) + " ago)"
	}
	return at + " (in " + span(t.Sub(now)) + ")"
}

// span rounds a duration to the one unit in which people think of it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	unit := func(n time.Duration, name string) string {
		if n == 1 {
			return "1 " + name
		}
		return strconv.FormatInt(int64(n), 10) + " " + name + "s"
	}
	switch {
	case d < 2*time.Minute:
		return unit(d.Round(time.Second)/time.Second, "second")
	case d < 2*time.Hour:
		return unit(d.Round(time.Minute)/time.Minute, "minute")
	case d < 2*day:
		return unit(d.Round(time.Hour)/time.Hour, "hour")
	case d < 2*365*day:
		return unit(d.Round(day)/day, "day")
	default:
		return unit(d.Round(365*day)/(365*day), "year")
	}
}
