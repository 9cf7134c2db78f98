// Package results reads the output of go test -bench, and helps to write a report of it.
package results

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// Seconds is the unit that benchfmt makes of ns/op.
const Seconds = "sec/op"

// Set are all measurements of some files, by the benchmark's name, without "Benchmark"
// and the number of processors, and by unit.
type Set struct {
	Files  []string
	Config []benchfmt.Config // as printed with the first result
	values map[string]map[string][]float64
}

// Read reads files. Repeated measurements of a benchmark are one sample.
func Read(files []string) (*Set, error) {
	s := &Set{values: make(map[string]map[string][]float64)}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		base := filepath.Base(name)
		s.Files = append(s.Files, base)
		if err := Scan(raw, base, s.add); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Scan calls add for each result in raw, which is of the file name. A run in which a
// benchmark failed is refused: its report would leave out exactly the peer that had a
// problem.
func Scan(raw []byte, name string, add func(*benchfmt.Result) error) error {
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("FAIL")) || bytes.HasPrefix(line, []byte("--- FAIL")) {
			return fmt.Errorf("%s: the run failed (%s): repeat it, a report of the rest would mislead", name, bytes.TrimSpace(line))
		}
	}
	reader := benchfmt.NewReader(bytes.NewReader(raw), name)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.Result:
			if err := add(rec); err != nil {
				return err
			}
		case *benchfmt.SyntaxError:
			return rec
		}
	}
	return reader.Err()
}

func (s *Set) add(r *benchfmt.Result) error {
	if len(s.values) == 0 {
		s.Config = r.Clone().Config
	}
	base, parts := r.Name.Parts()
	name := string(base)
	for _, part := range parts {
		if bytes.HasPrefix(part, []byte("/")) { // not the number of processors
			name += string(part)
		}
	}
	if s.values[name] == nil {
		s.values[name] = make(map[string][]float64)
	}
	for _, v := range r.Values {
		s.values[name][v.Unit] = append(s.values[name][v.Unit], v.Value)
	}
	return nil
}

// ErrMissing: a benchmark of the report was not run.
var ErrMissing = errors.New("is not among the results: pass the output of the whole package")

// Has reports whether a benchmark was run.
func (s *Set) Has(name string) bool { return s.values[name] != nil }

// Median returns the median of a benchmark. The error wraps ErrMissing.
func (s *Set) Median(name, unit string) (float64, error) {
	values := s.values[name][unit]
	if len(values) == 0 {
		return 0, fmt.Errorf("%s in %s %w", name, unit, ErrMissing)
	}
	return Summary(values).Center, nil
}

// Summary returns a median and its 95 % confidence interval.
func Summary(values []float64) benchmath.Summary {
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, 0.95)
}

// Runs returns how often each benchmark ran, at least.
func (s *Set) Runs() int {
	least := 0
	for _, units := range s.values { // other units may be left out where they are 0
		if n := len(units[Seconds]); least == 0 || n < least {
			least = n
		}
	}
	return least
}
