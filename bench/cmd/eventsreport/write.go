package main

import (
	"fmt"
	"image/color"

	"github.com/go-signet/signet/bench/internal/chart"
	"github.com/go-signet/signet/bench/internal/results"
)

const caveats = `# Events: benchmark report

Read this first.

- Publisher, NATS server and subscriber are one process on one small machine, and share
  its processors. There is no distance and no loss. Take the **ratios** of one run.
- With 8 and 512 messages in flight the figures are wall time divided by messages, the
  inverse of throughput. They are not latencies; those are the figures with one in flight.
- The target was set beside nats.go at 4.0 µs a message of 1 KiB, go-micro's plugin at 13
  to 18, and xkeys at 101 to 131. On the machine of this run they come closest to that
  with 8 in flight.
- nats.go alone carries no headers, and keeps no promise but to deliver. broker/sealed
  also decides who may publish, opens, and remembers what was handled. xkeys has one
  recipient, and no protection against replay.
- The process does nothing else, so that its heap is small and the garbage collector runs
  often: who allocates more pays more here than in a service.
- Where there are 10 recipients one of them subscribes.

Made by ` + "`cmd/eventsreport`" + `; how to repeat the run is in the README of bench.

`

// plugin is one column, by its parts of the benchmarks' names.
type plugin struct {
	title, name string
	recipients  int
	color       color.Color
}

var (
	sealed = plugin{"**sealed, broker/nats**", "sealed-nats", 1, color.RGBA{R: 0xd1, G: 0x3b, B: 0x2a, A: 0xff}}
	ten    = plugin{"**same, 10 recipients**", "sealed-nats", 10, color.RGBA{R: 0x7d, G: 0x1f, B: 0x14, A: 0xff}}
	old    = plugin{"go-micro's plugin", "go-micro-nats", 0, color.RGBA{R: 0x2f, G: 0x6d, B: 0xa8, A: 0xff}}
	raw    = plugin{"nats.go", "raw-nats", 0, color.RGBA{R: 0x8e, G: 0x8e, B: 0x8e, A: 0xff}}

	// overNATS are those with a server, ours first and the limit last.
	overNATS = []plugin{
		sealed, ten,
		{"broker/nats in clear", "nats", 0, color.RGBA{R: 0xe8, G: 0x8f, B: 0x80, A: 0xff}},
		{"sealed, go-micro's plugin", "sealed-go-micro-nats", 1, color.RGBA{R: 0x9c, G: 0xc3, B: 0xe6, A: 0xff}},
		old,
		{"xkeys, nats.go", "xkeys", 1, color.RGBA{R: 0x3f, G: 0x8f, B: 0x5b, A: 0xff}},
		raw,
	}
	inMemory = []plugin{
		{"**sealed**", "sealed-memory", 1, nil},
		{"**sealed, 10 recipients**", "sealed-memory", 10, nil},
		{"in clear", "memory", 0, nil},
	}

	// suites are those of broker/sealed over broker/nats.
	suites = []plugin{
		sealed, {"post-quantum", "sealed-pq-nats", 1, nil},
		ten, {"post-quantum, 10 recipients", "sealed-pq-nats", 10, nil},
	}

	sizes     = []int{64, 1 << 10, 16 << 10}
	inflights = []int{1, 8, 512}
)

// cell is one situation.
type cell struct{ size, inflight int }

func (c cell) String() string {
	return fmt.Sprintf("%s, %d in flight", results.Bytes(c.size), c.inflight)
}

func cells(inflights ...int) (all []cell) {
	for _, size := range sizes {
		for _, n := range inflights {
			all = append(all, cell{size, n})
		}
	}
	return all
}

func (p plugin) at(c cell) string {
	name := fmt.Sprintf("Events/plugin=%s/size=%d/inflight=%d", p.name, c.size, c.inflight)
	if p.recipients > 0 {
		name += fmt.Sprintf("/recipients=%d", p.recipients)
	}
	return name
}

func write(w *results.Report, s *results.Set) error {
	w.WriteString(caveats)
	s.WriteSetting(w)
	for _, section := range []func(*results.Report, *results.Set) error{targets, nats, postQuantum, memory} {
		if err := section(w, s); err != nil {
			return err
		}
	}
	return nil
}

// ratio returns how many times the time of another plugin takes.
func ratio(s *results.Set, c cell, p, other plugin) (float64, error) {
	a, err := s.Median(p.at(c), results.Seconds)
	if err != nil {
		return 0, err
	}
	b, err := s.Median(other.at(c), results.Seconds)
	return a / b, err
}

// targets are those of the design, of 1 KiB.
func targets(w *results.Report, s *results.Set) error {
	w.WriteString("## Targets\n\nOf 1 KiB, sealed over broker/nats.\n\n")
	results.Head(w, "", "promised", ":measured", "")
	for _, inflight := range inflights {
		c := cell{1 << 10, inflight}
		for _, p := range []plugin{sealed, ten} {
			for _, t := range []struct {
				promise string
				against plugin
				most    float64
			}{
				{"≤ 1.5 × nats.go", raw, 1.5},
				{"faster than go-micro's plugin in clear", old, 1},
			} {
				r, err := ratio(s, c, p, t.against)
				if err != nil {
					return err
				}
				results.Row(w, fmt.Sprintf("%d in flight, recipients: %d", inflight, p.recipients), t.promise, fmt.Sprintf("%.2f ×", r), results.Verdict(r <= t.most))
			}
		}
	}
	fmt.Fprintln(w)
	return nil
}

// table has a row for each cell and a column for each plugin.
func table(w *results.Report, plugins []plugin, cells []cell, value func(plugin, cell) (string, error)) error {
	var rows, cols []string
	for _, c := range cells {
		rows = append(rows, c.String())
	}
	for _, p := range plugins {
		cols = append(cols, p.title)
	}
	return results.Table(w, "", rows, cols, func(row, col int) (string, error) { return value(plugins[col], cells[row]) })
}

// median makes a value of one unit.
func median(s *results.Set, unit string, format func(float64) string) func(plugin, cell) (string, error) {
	return func(p plugin, c cell) (string, error) {
		v, err := s.Median(p.at(c), unit)
		return format(v), err
	}
}

func nats(w *results.Report, s *results.Set) error {
	all := cells(inflights...)
	w.WriteString("## Over NATS\n\n![time per event](charts/events.svg)\n\nMedian time from Publish to the handler.\n\n")
	if err := table(w, overNATS, all, median(s, results.Seconds, results.Micro)); err != nil {
		return err
	}
	w.WriteString("As a multiple of the time of nats.go.\n\n")
	if err := table(w, overNATS, all, func(p plugin, c cell) (string, error) {
		r, err := ratio(s, c, p, raw)
		return fmt.Sprintf("%.2f", r), err
	}); err != nil {
		return err
	}
	w.WriteString("Processor time, of publisher, server and subscriber together. Others on the machine disturb it least.\n\n")
	if err := table(w, overNATS, all, median(s, "cpu-sec/op", results.Micro)); err != nil {
		return err
	}
	w.WriteString("Bytes on the wire, headers and body. A card of the sender is about 850 of the sealed ones; see sealed.OmitCard.\n\n")
	if err := table(w, overNATS, cells(512), median(s, "bytes/msg", whole)); err != nil {
		return err
	}
	w.WriteString("Bytes allocated and allocations, of all three together.\n\n")
	if err := table(w, overNATS, cells(512), allocations(s)); err != nil {
		return err
	}
	return draw(w, s)
}

func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

func allocations(s *results.Set) func(plugin, cell) (string, error) {
	return func(p plugin, c cell) (string, error) {
		size, err := s.Median(p.at(c), "B/op")
		if err != nil {
			return "", err
		}
		n, err := s.Median(p.at(c), "allocs/op")
		return fmt.Sprintf("%.0f B, %.0f", size, n), err
	}
}

func postQuantum(w *results.Report, s *results.Set) error {
	w.WriteString("## Post-quantum rules\n\nMedian time from Publish to the handler, and bytes on the wire: 1.1 KiB more for each recipient.\n\n")
	return table(w, suites, cells(inflights...), func(p plugin, c cell) (string, error) {
		t, err := s.Median(p.at(c), results.Seconds)
		if err != nil {
			return "", err
		}
		size, err := s.Median(p.at(c), "bytes/msg")
		return fmt.Sprintf("%s, %.0f B", results.Micro(t), size), err
	})
}

// memory is what the wrapper costs where nothing is on the way.
func memory(w *results.Report, s *results.Set) error {
	w.WriteString("## Over go-micro's memory broker\n\nMedian time from Publish to the end of the handler, in one goroutine; bytes allocated and allocations.\n\n")
	return table(w, inMemory, cells(1), func(p plugin, c cell) (string, error) {
		t, err := s.Median(p.at(c), results.Seconds)
		if err != nil {
			return "", err
		}
		allocs, err := allocations(s)(p, c)
		return results.Micro(t) + ", " + allocs, err
	})
}

func draw(w *results.Report, s *results.Set) error {
	all := cells(inflights...)
	var groups []string
	var series []chart.Series
	for _, c := range all {
		groups = append(groups, c.String())
	}
	for _, p := range overNATS {
		one := chart.Series{Name: p.name, Color: p.color}
		if p.recipients > 1 {
			one.Name += fmt.Sprintf(", %d", p.recipients)
		}
		for _, c := range all {
			t, err := s.Median(p.at(c), results.Seconds)
			if err != nil {
				return err
			}
			one.Values = append(one.Values, t*1e6)
		}
		series = append(series, one)
	}
	svg, err := chart.Bars("Publish to handler, over NATS", groups, series)
	w.Charts = map[string][]byte{"events.svg": svg}
	return err
}
