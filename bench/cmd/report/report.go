package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-signet/signet/bench/internal/results"
)

// references are the peers whose time the report divides by.
var references = [...]string{"raw-quic", "http", "http-mtls"}

const caveats = `# Benchmark report

Read this first.

- Measured on a small machine shared with other work, client and server in one
  process, over the loopback interface: no real network, no loss, no distance. Take
  the **ratios** between peers of one run; the absolute figures are worth little.
- With more than one exchange in flight the figures are wall time divided by
  exchanges, the inverse of throughput. They are not latencies.
- Loopback favours TCP at sizes above one QUIC packet: its segments are up to 64 KiB
  there, where QUIC's packets stay at what a real network carries, about 1450 B.
- A peer's defaults are used where it has no reason to change them. Somebody who
  tunes a peer for one workload will see other numbers.
- The memory transport neither encrypts nor leaves the process, http neither encrypts
  nor authenticates, and raw-quic is quic-go without headers, identities or limits.
  They are there as marks, not as rivals.

Medians, with 95 % confidence intervals in percent (∞: too few runs to tell; -count=10 is
enough). Made by ` + "`cmd/report`" + `; how to repeat the run is in README.md.

`

func writeReport(w io.Writer, res *table) {
	io.WriteString(w, caveats)
	writeConfig(w, res)
	writeTargets(w, res)
	for _, wl := range res.workloads() {
		writeWorkload(w, res, wl)
	}
}

func writeConfig(w io.Writer, res *table) {
	results.Setting(w, res.config)
	results.Row(w, "raw results", strings.Join(res.files, ", "))
	fmt.Fprintln(w)
}

func writeTargets(w io.Writer, res *table) {
	fmt.Fprintf(w, "## Targets\n\n")
	results.Head(w, "workload", "cell", "promised", ":measured", "")
	for _, t := range targets() {
		for _, wl := range res.workloads() {
			for _, at := range wl.cells {
				if !t.covers(at) {
					continue
				}
				measured, kept, ok := t.judge(res, at)
				if !ok {
					results.Row(w, wl.title, at.String(), t.promise, "", "not measured")
					continue
				}
				results.Row(w, wl.title, at.String(), t.promise, measured, results.Verdict(kept))
			}
		}
	}
	fmt.Fprintln(w)
}

func writeWorkload(w io.Writer, res *table, wl workload) {
	fmt.Fprintf(w, "## %s\n\n%s\n\n![time per operation](charts/%s)\n\nMedian time per operation.\n\n", wl.title, wl.what, wl.chartFile())
	writeTable(w, wl, func(at cell, plugin string) (string, bool) {
		m, ok := res.median(at, plugin, unitTime)
		return results.Micro(m.Center) + " ±" + m.PctRangeString(), ok
	})
	for _, ref := range references {
		if !slices.Contains(wl.plugins, ref) {
			continue
		}
		fmt.Fprintf(w, "As a multiple of the time of %s: below 1 is faster.\n\n", ref)
		writeTable(w, wl, func(at cell, plugin string) (string, bool) {
			r, ok := res.ratio(at, plugin, ref)
			return fmt.Sprintf("%.2f", r), ok
		})
	}
	fmt.Fprintf(w, "Processor time per operation, both ends and their kernel work together. Others on the machine disturb it least.\n\n")
	writeTable(w, wl, func(at cell, plugin string) (string, bool) {
		m, ok := res.median(at, plugin, unitCPU)
		return results.Micro(m.Center), ok
	})
	fmt.Fprintf(w, "Bytes allocated and allocations per operation, both ends together.\n\n")
	writeTable(w, wl, func(at cell, plugin string) (string, bool) {
		b, ok := res.median(at, plugin, unitBytes)
		n, okAllocs := res.median(at, plugin, unitAllocs)
		return fmt.Sprintf("%.0f B, %.0f", b.Center, n.Center), ok && okAllocs
	})
}

// writeTable has a row for each cell and a column for each plugin.
func writeTable(w io.Writer, wl workload, value func(cell, string) (string, bool)) {
	head := []string{""}
	for _, p := range wl.plugins {
		if p == ours {
			p = "**" + p + "**"
		}
		head = append(head, ":"+p)
	}
	results.Head(w, head...)
	for _, at := range wl.cells {
		cols := []string{at.String()}
		for _, p := range wl.plugins {
			v, ok := value(at, p)
			if !ok {
				v = "–"
			}
			cols = append(cols, v)
		}
		results.Row(w, cols...)
	}
	fmt.Fprintln(w)
}
