// Command registryreport turns raw results of bench/registry into a report.
//
//	go run ./cmd/registryreport -o registry/REPORT.md results/2026-01-31-registry.txt
//
// It reads the output of go test -bench, one or more files. Repeated measurements of
// a benchmark become a median. The output depends on nothing but the input.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
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
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "registryreport:", err)
		os.Exit(1)
	}
}

// run writes the report of files to out.
func run(out string, files []string) error {
	res := newResults()
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := res.read(raw, filepath.Base(name)); err != nil {
			return err
		}
	}
	var report bytes.Buffer
	if err := write(&report, res); err != nil {
		return err
	}
	return os.WriteFile(out, report.Bytes(), 0o644)
}
