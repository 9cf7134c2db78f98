// Command codecreport turns raw results of bench/codec into a report.
//
//	go run ./cmd/codecreport -o codec/REPORT.md results/2026-01-31-codec.txt
//
// It reads the output of go test -bench, one or more files. Repeated measurements of a
// benchmark become a median. The output depends on nothing but the input.
package main

import "github.com/go-signet/signet/bench/internal/results"

func main() { results.Main(write) }
