package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// results are all measurements, by the benchmark's name and unit.
type results struct {
	files  []string
	config []benchfmt.Config // as printed with the first result
	values map[string]map[string][]float64
}

func newResults() *results {
	return &results{values: make(map[string]map[string][]float64)}
}

// read adds what raw holds. A run in which a benchmark failed is refused.
func (res *results) read(raw []byte, name string) error {
	res.files = append(res.files, name)
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("FAIL")) || bytes.HasPrefix(line, []byte("--- FAIL")) {
			return fmt.Errorf("%s: the run failed (%s): repeat it", name, bytes.TrimSpace(line))
		}
	}
	reader := benchfmt.NewReader(bytes.NewReader(raw), name)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.Result:
			res.add(rec)
		case *benchfmt.SyntaxError:
			return rec
		}
	}
	return reader.Err()
}

func (res *results) add(r *benchfmt.Result) {
	if len(res.values) == 0 {
		res.config = r.Clone().Config
	}
	base, parts := r.Name.Parts()
	name := string(base)
	for _, part := range parts {
		if bytes.HasPrefix(part, []byte("/")) { // not the number of processors
			name += string(part)
		}
	}
	if res.values[name] == nil {
		res.values[name] = make(map[string][]float64)
	}
	for _, v := range r.Values {
		res.values[name][v.Unit] = append(res.values[name][v.Unit], v.Value)
	}
}

var errMissing = errors.New("is not among the results: pass the output of the whole of bench/registry")

// median returns the median of a benchmark.
func (res *results) median(name, unit string) (float64, error) {
	values := res.values[name][unit]
	if len(values) == 0 {
		return 0, fmt.Errorf("%s in %s %w", name, unit, errMissing)
	}
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, 0.95).Center, nil
}

// runs returns how often each benchmark ran, at least.
func (res *results) runs() int {
	least := 0
	for _, units := range res.values {
		for _, values := range units {
			if least == 0 || len(values) < least {
				least = len(values)
			}
		}
	}
	return least
}

func row(w *bytes.Buffer, cols ...string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cols, " | "))
}
