package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-signet/signet/bench/internal/results"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// Units as benchfmt tidies them.
const (
	unitTime   = results.Seconds
	unitCPU    = "cpu-sec/op"
	unitBytes  = "B/op"
	unitAllocs = "allocs/op"
)

// A cell is one situation that all plugins are measured in. Dial has neither size
// nor inflight; both are 0 then.
type cell struct {
	workload       string
	size, inflight int
}

// String names the cell within its workload.
func (c cell) String() string {
	if c.inflight == 0 {
		return "one round trip"
	}
	return fmt.Sprintf("%s, %d in flight", results.Bytes(c.size), c.inflight)
}

func compareCells(a, b cell) int {
	return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.inflight, b.inflight))
}

type measurement struct {
	cell   cell
	plugin string
	unit   string
}

// table is all measurements of the files read.
type table struct {
	files   []string
	config  []benchfmt.Config // as printed with the first result
	plugins []string          // in the order of the output
	names   []string          // workloads, in the order of the output
	values  map[measurement][]float64
}

func readFiles(files []string) (*table, error) {
	res := &table{values: make(map[measurement][]float64)}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := res.read(raw, filepath.Base(name)); err != nil {
			return nil, err
		}
	}
	if len(res.values) == 0 {
		return nil, errors.New("no benchmark results in the files given: pass the output of go test -bench")
	}
	return res, nil
}

// read adds what raw holds.
func (res *table) read(raw []byte, name string) error {
	res.files = append(res.files, name)
	return results.Scan(raw, name, res.add)
}

func (res *table) add(r *benchfmt.Result) error {
	file, line := r.Pos()
	base, parts := r.Name.Parts()
	at := cell{workload: string(base)}
	var plugin string
	for _, part := range parts {
		key, value, _ := strings.Cut(strings.TrimPrefix(string(part), "/"), "=")
		var err error
		switch key {
		case "plugin":
			plugin = value
		case "size":
			at.size, err = strconv.Atoi(value)
		case "inflight":
			at.inflight, err = strconv.Atoi(value)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", file, line, r.Name, err)
		}
	}
	if plugin == "" {
		return fmt.Errorf("%s:%d: %s names no plugin", file, line, r.Name)
	}
	if len(res.values) == 0 {
		res.config = r.Clone().Config
	}
	if !slices.Contains(res.plugins, plugin) {
		res.plugins = append(res.plugins, plugin)
	}
	if !slices.Contains(res.names, at.workload) {
		res.names = append(res.names, at.workload)
	}
	for _, unit := range []string{unitTime, unitCPU, unitBytes, unitAllocs} {
		v, ok := r.Value(unit)
		if !ok {
			return fmt.Errorf("%s:%d: %s has no %s: pass results of this module's benchmarks", file, line, r.Name, unit)
		}
		m := measurement{at, plugin, unit}
		res.values[m] = append(res.values[m], v)
	}
	return nil
}

// median returns the median and its 95 % confidence interval, or false if plugin
// was not measured in at.
func (res *table) median(at cell, plugin, unit string) (benchmath.Summary, bool) {
	values := res.values[measurement{at, plugin, unit}]
	if len(values) == 0 {
		return benchmath.Summary{}, false
	}
	return results.Summary(values), true
}

// ratio returns how many times the time of other plugin takes.
func (res *table) ratio(at cell, plugin, other string) (float64, bool) {
	a, ok := res.median(at, plugin, unitTime)
	b, okOther := res.median(at, other, unitTime)
	if !ok || !okOther || b.Center == 0 {
		return 0, false
	}
	return a.Center / b.Center, true
}

// A workload is one benchmark function: its cells and who was measured in them.
type workload struct {
	name    string // of the function, without Benchmark
	title   string
	what    string // one operation, in words
	cells   []cell
	plugins []string
}

func (w workload) chartFile() string { return strings.ToLower(w.name) + ".svg" }

// workloads lists what was measured, in the order of the report.
func (res *table) workloads() []workload {
	known := []workload{
		{name: "TransportEcho", title: "Transport echo", what: "One message over an open transport socket and its echo."},
		{name: "RPC", title: "go-micro RPC", what: "One call through go-micro's client and server, as JSON with a payload of the size given. It takes everything go-micro does around the transport, which the memory column shows."},
		{name: "Dial", title: "Dial", what: "A new logical connection to a server already known, one round trip of 128 B, and Close. For QUIC that is a stream of a connection that is there already; http and grpc connect and shake hands each time."},
	}
	var ws []workload
	for _, w := range known {
		if slices.Contains(res.names, w.name) {
			ws = append(ws, w)
		}
	}
	for _, name := range res.names {
		if !slices.ContainsFunc(known, func(w workload) bool { return w.name == name }) {
			ws = append(ws, workload{name: name, title: name})
		}
	}
	for i := range ws {
		res.fill(&ws[i])
	}
	return ws
}

func (res *table) fill(w *workload) {
	for m := range res.values {
		if m.cell.workload == w.name && !slices.Contains(w.cells, m.cell) {
			w.cells = append(w.cells, m.cell)
		}
	}
	slices.SortFunc(w.cells, compareCells)
	for _, p := range res.plugins {
		measured := func(at cell) bool { return len(res.values[measurement{at, p, unitTime}]) > 0 }
		if slices.ContainsFunc(w.cells, measured) {
			w.plugins = append(w.plugins, p)
		}
	}
}
