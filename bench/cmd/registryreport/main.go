// Command registryreport turns raw results of bench/registry into a report.
//
//	go run ./cmd/registryreport -o registry/REPORT.md results/2026-01-31-registry.txt
//
// It reads the output of go test -bench, one or more files. Repeated measurements of
// a benchmark become a median. The output depends on nothing but the input.
package main

import "github.com/go-signet/signet/bench/internal/results"

func main() { results.Main(write) }
