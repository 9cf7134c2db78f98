// Command report turns raw benchmark results into tables and charts.
//
//	go run ./cmd/report -o REPORT.md results/2026-01-31-quiet.txt
//
// It reads the output of go test -bench, one or more files, and writes the report
// and, beside it in charts/, one SVG for each workload. Repeated measurements
// (-count) of a benchmark become a median and its 95 % confidence interval. The
// output depends on nothing but the input.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "REPORT.md", "the report to write; charts go to charts/ beside it")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [-o REPORT.md] results.txt...\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// run writes the report of files to out, and the charts to charts/ beside it.
func run(out string, files []string) error {
	res, err := readFiles(files)
	if err != nil {
		return err
	}
	charts := filepath.Join(filepath.Dir(out), "charts")
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	for _, w := range res.workloads() {
		svg, err := draw(res, w)
		if err != nil {
			return fmt.Errorf("chart of %s: %w", w.name, err)
		}
		if err := os.WriteFile(filepath.Join(charts, w.chartFile()), svg, 0o644); err != nil {
			return err
		}
	}
	var report bytes.Buffer
	writeReport(&report, res)
	return os.WriteFile(out, report.Bytes(), 0o644)
}
