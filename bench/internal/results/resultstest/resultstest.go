// Package resultstest helps to test reports.
package resultstest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-signet/signet/bench/internal/results"
)

// Generate writes the report of raw results into a new directory.
func Generate(t *testing.T, text string, write results.Writer) (dir, report string, err error) {
	t.Helper()
	dir = t.TempDir()
	in, out := filepath.Join(dir, "results.txt"), filepath.Join(dir, "REPORT.md")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := results.Run(out, []string{in}, write); err != nil {
		return dir, "", err
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(raw), nil
}

// Contains fails unless the report of raw results has all lines, and is the same again.
func Contains(t *testing.T, text string, write results.Writer, lines ...string) (dir string) {
	t.Helper()
	dir, report, err := Generate(t, text, write)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range lines {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if _, again, _ := Generate(t, text, write); again != report {
		t.Error("the same input made another report")
	}
	return dir
}

// Chart fails unless a chart of the report in dir is SVG whose legend has a name.
func Chart(t *testing.T, dir, file, name string) {
	t.Helper()
	svg, err := os.ReadFile(filepath.Join(dir, "charts", file))
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Contains(svg, []byte(">"+name+"<")) {
		t.Errorf("the legend of %s does not name %s", file, name)
	}
}

// Refused fails unless bad results make an error: none, a failed run, a benchmark that
// is missing, which begins with the name given, and a line that is cut.
func Refused(t *testing.T, good, missing string, write results.Writer) {
	t.Helper()
	for name, tc := range map[string]struct{ text, want string }{
		"empty":           {"", "is not among the results"},
		"a failed run":    {good + "FAIL\n", "the run failed"},
		"one is missing":  {strings.ReplaceAll(good, "Benchmark"+missing, "BenchmarkOther"), missing},
		"the line is cut": {good + "BenchmarkX/x 100 1\n", "results.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Generate(t, tc.text, write); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}
