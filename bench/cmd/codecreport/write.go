package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-signet/signet/bench/internal/results"
)

const caveats = `# Encrypted calls: benchmark report

Read this first.

- Client and server are one process on one small machine, and share its processors. There
  is no distance and no loss. Take the **ratios** of one run.
- With 64 calls in flight the figures are wall time divided by calls, the inverse of
  throughput. They are not latencies; those are the figures with one in flight.
- Over QUIC a call in clear costs so little that five percent of it are two or three
  microseconds, less than to encrypt and decrypt its request and its answer.
- Processor time is what others on the machine disturb least.
- The process does nothing else, so that its heap is small and the garbage collector runs
  often: who allocates more pays more here than in a service.

Made by ` + "`cmd/codecreport`" + `; how to repeat the run is in the README of bench.

`

// most is what encryption may add, by the design.
const most = 1.05

// Modes, as the benchmarks name them.
const (
	clear     = "clear"
	encrypted = "encrypted"
	noCard    = "no-card"
)

// cell is one situation.
type cell struct {
	carrier, codec string
	size, inflight int
}

func (c cell) String() string {
	return fmt.Sprintf("%s, %s, %s, %d in flight", c.carrier, c.codec, results.Bytes(c.size), c.inflight)
}

func (c cell) in(mode string) string {
	return fmt.Sprintf("RPC/carrier=%s/codec=%s/size=%d/inflight=%d/mode=%s", c.carrier, c.codec, c.size, c.inflight, mode)
}

func cells() (all []cell) {
	for _, carrier := range []string{"http", "quic"} {
		for _, codec := range []string{"json", "proto"} {
			for _, size := range []int{16, 4 << 10} {
				for _, inflight := range []int{1, 64} {
					all = append(all, cell{carrier, codec, size, inflight})
				}
			}
		}
	}
	return all
}

func write(w *results.Report, s *results.Set) error {
	w.WriteString(caveats)
	s.WriteSetting(w)
	for _, section := range []func(*results.Report, *results.Set) error{times, sizes} {
		if err := section(w, s); err != nil {
			return err
		}
	}
	return nil
}

// times compares each call with the same call in clear.
func times(w *results.Report, s *results.Set) error {
	const cpu = "cpu-sec/op"
	w.WriteString("## Calls\n\nMedian time of a call, and its processor time at both ends together. Promised: at most 1.05 × the same in clear.\n\n")
	results.Head(w, "", ":in clear", ":encrypted", ":×", ":without card, ×", ":processor in clear", ":encrypted", ":×", "")
	for _, c := range cells() {
		var v [5]float64
		for i, of := range []struct{ mode, unit string }{
			{clear, results.Seconds}, {encrypted, results.Seconds}, {noCard, results.Seconds}, {clear, cpu}, {encrypted, cpu},
		} {
			var err error
			if v[i], err = s.Median(c.in(of.mode), of.unit); err != nil {
				return err
			}
		}
		times := func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
		results.Row(w, c.String(), results.Micro(v[0]), results.Micro(v[1]), times(v[1], v[0]), times(v[2], v[0]),
			results.Micro(v[3]), results.Micro(v[4]), times(v[4], v[3]), results.Verdict(v[1] <= most*v[0]))
	}
	fmt.Fprintln(w)
	return nil
}

// sizes says what sealing adds to messages.
func sizes(w *results.Report, s *results.Set) error {
	variants, keys := []string{"card", "no-card", "post-quantum"}, []int{1, 3, 10}
	w.WriteString("## Sizes\n\nBytes that a request grows by, for services of several box keys. An answer grows by ")
	answer, err := s.Median("Size/keys=1/variant=card", "answer-bytes")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%.0f.\n\n", answer)
	results.Head(w, "box keys", ":first call of a node", ":with OmitCard", ":with PostQuantum", ":later calls", ":later messages of a stream")
	for _, n := range keys {
		row := []string{fmt.Sprint(n)}
		for _, variant := range variants {
			v, err := s.Median(fmt.Sprintf("Size/keys=%d/variant=%s", n, variant), "request-bytes")
			if err != nil {
				return err
			}
			row = append(row, fmt.Sprintf("%.0f", v))
		}
		for _, unit := range []string{"later-bytes", "stream-bytes"} {
			same, err := sameSize(s, n, variants, unit)
			if err != nil {
				return err
			}
			row = append(row, same)
		}
		results.Row(w, row...)
	}
	fmt.Fprintln(w)
	return nil
}

// sameSize is a size that should not depend on the variant.
func sameSize(s *results.Set, keys int, variants []string, unit string) (string, error) {
	var sizes []string
	for _, variant := range variants {
		v, err := s.Median(fmt.Sprintf("Size/keys=%d/variant=%s", keys, variant), unit)
		if err != nil {
			return "", err
		}
		sizes = append(sizes, fmt.Sprintf("%.0f", v))
	}
	return strings.Join(slices.Compact(sizes), ", "), nil
}
