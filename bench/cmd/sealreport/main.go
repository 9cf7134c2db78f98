// Command sealreport turns raw results of bench/seal into a report.
//
//	go run ./cmd/sealreport -o seal/REPORT.md results/2026-01-31-seal.txt
//
// It reads the output of go test -bench, one or more files. Repeated measurements of a
// benchmark become a median. The output depends on nothing but the input.
package main

import "github.com/go-signet/signet/bench/internal/results"

func main() { results.Main(write) }
