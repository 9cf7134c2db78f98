package results

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// A Report is its text, and charts by the names of their files, which go to charts/
// beside it.
type Report struct {
	bytes.Buffer
	Charts map[string][]byte
}

// A Writer writes a report. What it writes depends on nothing but the measurements.
type Writer func(r *Report, s *Set) error

// Main is a command that turns raw results into a report.
func Main(write Writer) {
	out := flag.String("o", "REPORT.md", "the report to write")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [-o REPORT.md] results.txt...\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := Run(*out, flag.Args(), write); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// Run writes the report of files to out.
func Run(out string, files []string, write Writer) error {
	s, err := Read(files)
	if err != nil {
		return err
	}
	var report Report
	if err := write(&report, s); err != nil {
		return err
	}
	for name, svg := range report.Charts {
		charts := filepath.Join(filepath.Dir(out), "charts")
		if err := os.MkdirAll(charts, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(charts, name), svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(out, report.Bytes(), 0o644)
}

// WriteSetting writes what the results depend on.
func (s *Set) WriteSetting(w io.Writer) {
	Setting(w, s.Config)
	Row(w, "runs", fmt.Sprint(s.Runs()))
	Row(w, "raw results", strings.Join(s.Files, ", "))
	fmt.Fprintln(w)
}

// Setting begins a table with the configuration lines of results.
func Setting(w io.Writer, config []benchfmt.Config) {
	Head(w, "", "")
	for _, c := range config {
		if c.File && c.Key != "pkg" {
			Row(w, c.Key, string(c.Value))
		}
	}
}

// Row writes a row of a table.
func Row(w io.Writer, cols ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cols, " | ")) }

// Head begins a table. A column whose name begins with a colon is set to the right.
func Head(w io.Writer, cols ...string) {
	names, line := make([]string, len(cols)), make([]string, len(cols))
	for i, c := range cols {
		name, right := strings.CutPrefix(c, ":")
		names[i], line[i] = name, "---"
		if right {
			line[i] = "---:"
		}
	}
	Row(w, names...)
	Row(w, line...)
}

// Table writes a table with a row and a column for each of two lists. corner is above the
// rows.
func Table(w io.Writer, corner string, rows, cols []string, value func(row, col int) (string, error)) error {
	head := []string{corner}
	for _, c := range cols {
		head = append(head, ":"+c)
	}
	Head(w, head...)
	for i, r := range rows {
		line := []string{r}
		for j := range cols {
			v, err := value(i, j)
			if err != nil {
				return err
			}
			line = append(line, v)
		}
		Row(w, line...)
	}
	fmt.Fprintln(w)
	return nil
}

// Micro prints seconds as microseconds, to three digits.
func Micro(seconds float64) string {
	us := seconds * 1e6
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f µs", us)
	case us < 100:
		return fmt.Sprintf("%.1f µs", us)
	}
	return fmt.Sprintf("%.0f µs", us)
}

// Bytes prints a size.
func Bytes(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// Verdict says whether a promise was kept.
func Verdict(kept bool) string {
	if kept {
		return "kept"
	}
	return "**missed**"
}
