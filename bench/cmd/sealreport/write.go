package main

import (
	"fmt"
	"image/color"
	"math"

	"github.com/go-signet/signet/bench/internal/chart"
	"github.com/go-signet/signet/bench/internal/results"
)

const caveats = `# Sealing: benchmark report

Read this first.

- Peers do not promise the same. Signet proves the sender to each recipient, also against
  the other recipients, and binds topic and headers. NaCl box and xkeys prove the sender,
  and whoever steals either long-term key reads what was sent before. age, with X25519
  recipients, and AES-256-GCM prove nobody.
- Signet does its public-key work once for an epoch, of up to 2^20 messages: see the last
  table for what that costs. NaCl box with precomputation does so once for a recipient.
- Replay state is not in these figures; it is in those of bench/events.
- Who opens is the recipient in the middle. age tries what is for each one before it.
- age is made for files. Its time is that of its key wrapping; it does not claim to be
  fast at small ones.
- Above 1 KiB and for several recipients most of signet's time is SHA-256, over the whole
  ciphertext, at both ends.
- The machine is small and shared. Medians; take the ratios of one run.

Made by ` + "`cmd/sealreport`" + `; how to repeat the run is in the README of bench.

`

var (
	sizes      = []int{64, 1 << 10, 16 << 10, 1 << 20}
	recipients = []int{1, 10, 100}
)

// plugin is one column: a way to seal, by its parts of the benchmarks' names.
type plugin struct {
	title, name, more string
	color             color.Color
	// alone: it has one recipient, or any number for the same.
	alone bool
	// together bounds size times recipients; 0 does not.
	together int
}

// each bounds those who make a message for each recipient, as bench/seal does.
const each = 16 << 20

const (
	aes    = "/suite=aes-256-gcm/auth=tags/epoch=inline"
	signed = "/suite=aes-256-gcm/auth=signature/epoch=inline"
	chacha = "/suite=chacha20-poly1305/auth=tags/epoch=inline"
)

// plugins are those that are in all tables, ours first.
func plugins() []plugin {
	return []plugin{
		{title: "**signet**", name: "signet", more: aes, color: color.RGBA{R: 0xd1, G: 0x3b, B: 0x2a, A: 0xff}},
		{title: "signet, ChaCha20", name: "signet", more: chacha, color: color.RGBA{R: 0xe8, G: 0x8f, B: 0x80, A: 0xff}},
		{title: "signet, signatures", name: "signet", more: signed, color: color.RGBA{R: 0x7d, G: 0x1f, B: 0x14, A: 0xff}},
		{title: "nacl box", name: "nacl-box", together: each, color: color.RGBA{R: 0x2f, G: 0x6d, B: 0xa8, A: 0xff}},
		{title: "nacl box, precomputed", name: "nacl-box-precomputed", together: each, color: color.RGBA{R: 0x9c, G: 0xc3, B: 0xe6, A: 0xff}},
		{title: "xkeys", name: "xkeys", together: each, color: color.RGBA{R: 0x3f, G: 0x8f, B: 0x5b, A: 0xff}},
		{title: "age", name: "age", color: color.RGBA{R: 0xe3, G: 0xc5, B: 0x6b, A: 0xff}},
		{title: "AES-GCM alone", name: "aes-gcm", alone: true, color: color.RGBA{R: 0x8e, G: 0x8e, B: 0x8e, A: 0xff}},
	}
}

// cell is one situation.
type cell struct{ size, recipients int }

func (c cell) String() string {
	return fmt.Sprintf("%s, %s", results.Bytes(c.size), people(c.recipients))
}

func people(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return fmt.Sprintf("%d recipients", n)
}

func cells() (all []cell) {
	for _, size := range sizes {
		for _, n := range recipients {
			all = append(all, cell{size, n})
		}
	}
	return all
}

func name(bench string, p plugin, c cell) string {
	return fmt.Sprintf("%s/plugin=%s/size=%d/recipients=%d%s", bench, p.name, c.size, c.recipients, p.more)
}

// measured reports whether a plugin is measured in a cell.
func (p plugin) measured(c cell) bool {
	return !(p.alone && c.recipients > 1) && (p.together == 0 || c.size*c.recipients <= p.together)
}

// both returns the seconds of a Seal and of an Open.
func both(s *results.Set, p plugin, c cell) (float64, error) {
	seal, err := s.Median(name("Seal", p, c), results.Seconds)
	if err != nil {
		return 0, err
	}
	open, err := s.Median(name("Open", p, c), results.Seconds)
	return seal + open, err
}

func write(w *results.Report, s *results.Set) error {
	w.WriteString(caveats)
	s.WriteSetting(w)
	for _, section := range []func(*results.Report, *results.Set) error{targets, times, sizesOnWire, allocations, suites, epochs} {
		if err := section(w, s); err != nil {
			return err
		}
	}
	return nil
}

func targets(w *results.Report, s *results.Set) error {
	w.WriteString("## Targets\n\nSeal for all recipients, and open as one of them, with the epoch in front of each message, as broker/sealed sends it.\n\n")
	results.Head(w, "", "promised", ":measured", "")
	for _, t := range []struct {
		recipients int
		most       float64 // seconds
	}{{1, 2e-6}, {10, 8e-6}} {
		c := cell{1 << 10, t.recipients}
		got, err := both(s, plugins()[0], c)
		if err != nil {
			return err
		}
		results.Row(w, c.String(), fmt.Sprintf("≤ %.0f µs", t.most*1e6), results.Micro(got), results.Verdict(got <= t.most))
	}
	fmt.Fprintln(w)
	return nil
}

// table has a row for each cell and a column for each plugin.
func table(w *results.Report, value func(plugin, cell) (string, error)) error {
	var rows, cols []string
	for _, c := range cells() {
		rows = append(rows, c.String())
	}
	for _, p := range plugins() {
		cols = append(cols, p.title)
	}
	return results.Table(w, "", rows, cols, func(row, col int) (string, error) {
		p, c := plugins()[col], cells()[row]
		if !p.measured(c) {
			return "–", nil
		}
		return value(p, c)
	})
}

func times(w *results.Report, s *results.Set) error {
	w.WriteString("## Seal and open\n\n![time to seal and open](charts/sealopen.svg)\n\nMedian time to seal for all recipients, and to open as one of them.\n\n")
	if err := table(w, func(p plugin, c cell) (string, error) {
		t, err := both(s, p, c)
		return results.Micro(t), err
	}); err != nil {
		return err
	}
	w.WriteString("As a multiple of the time of signet: above 1 is slower.\n\n")
	if err := table(w, func(p plugin, c cell) (string, error) {
		ours, err := both(s, plugins()[0], c)
		if err != nil {
			return "", err
		}
		t, err := both(s, p, c)
		return fmt.Sprintf("%.2f", t/ours), err
	}); err != nil {
		return err
	}
	return draw(w, s)
}

// draw draws the cells of 1 KiB.
func draw(w *results.Report, s *results.Set) error {
	var groups []string
	var series []chart.Series
	for _, n := range recipients {
		groups = append(groups, people(n))
	}
	for _, p := range plugins() {
		one := chart.Series{Name: p.title, Color: p.color}
		if p.more == aes {
			one.Name = p.name
		}
		for _, n := range recipients {
			c, us := cell{1 << 10, n}, math.NaN()
			if p.measured(c) {
				t, err := both(s, p, c)
				if err != nil {
					return err
				}
				us = t * 1e6
			}
			one.Values = append(one.Values, us)
		}
		series = append(series, one)
	}
	svg, err := chart.Bars("Seal and open 1 KiB", groups, series)
	w.Charts = map[string][]byte{"sealopen.svg": svg}
	return err
}

func sizesOnWire(w *results.Report, s *results.Set) error {
	w.WriteString("## Size\n\nBytes that are sent so that each recipient can open. Signet's include the sender's card and a grant for each recipient, in each message.\n\n")
	return table(w, func(p plugin, c cell) (string, error) {
		n, err := s.Median(name("Seal", p, c), "bytes/msg")
		return fmt.Sprintf("%.0f", n), err
	})
}

func allocations(w *results.Report, s *results.Set) error {
	w.WriteString("## Allocations\n\nOf a Seal and of an Open. All but xkeys are given memory to write into.\n\n")
	return table(w, func(p plugin, c cell) (string, error) {
		seal, err := s.Median(name("Seal", p, c), "allocs/op")
		if err != nil {
			return "", err
		}
		open, err := s.Median(name("Open", p, c), "allocs/op")
		return fmt.Sprintf("%.0f, %.0f", seal, open), err
	})
}

// suites compares the engine's own.
func suites(w *results.Report, s *results.Set) error {
	w.WriteString("## Suites\n\nOf 1 KiB: seal, open, and bytes sent. Where the epoch is known it is not in the message.\n\n")
	ours := []plugin{
		{title: "AES-256-GCM", more: aes},
		{title: "AES-256-GCM, epoch known", more: "/suite=aes-256-gcm/auth=tags/epoch=known"},
		{title: "post-quantum, AES-256-GCM", more: "/suite=pq-aes-256-gcm/auth=tags/epoch=inline"},
		{title: "post-quantum, AES-256-GCM, epoch known", more: "/suite=pq-aes-256-gcm/auth=tags/epoch=known"},
		{title: "ChaCha20-Poly1305", more: chacha},
		{title: "post-quantum, ChaCha20-Poly1305", more: "/suite=pq-chacha20-poly1305/auth=tags/epoch=inline"},
		{title: "AES-256-GCM, P-256 signatures", more: signed},
	}
	var rows, cols []string
	for _, p := range ours {
		rows = append(rows, p.title)
	}
	for _, n := range recipients {
		cols = append(cols, people(n))
	}
	return results.Table(w, "", rows, cols, func(row, col int) (string, error) {
		p, c := ours[row], cell{1 << 10, recipients[col]}
		p.name = "signet"
		seal, err := s.Median(name("Seal", p, c), results.Seconds)
		if err != nil {
			return "", err
		}
		open, err := s.Median(name("Open", p, c), results.Seconds)
		if err != nil {
			return "", err
		}
		size, err := s.Median(name("Seal", p, c), "bytes/msg")
		return fmt.Sprintf("%s, %s, %.0f B", results.Micro(seal), results.Micro(open), size), err
	})
}

func epochs(w *results.Report, s *results.Set) error {
	w.WriteString("## Epochs\n\nTo make an epoch, for each recipient; and for a recipient to unwrap it, once. A publisher makes one an hour, for 2^20 messages, or for a change.\n\n")
	names := []string{"aes-256-gcm", "chacha20-poly1305", "pq-aes-256-gcm", "pq-chacha20-poly1305"}
	var cols []string
	for _, n := range recipients {
		cols = append(cols, people(n))
	}
	return results.Table(w, "suite", names, cols, func(row, col int) (string, error) {
		at := fmt.Sprintf("/plugin=signet/recipients=%d/suite=%s", recipients[col], names[row])
		made, err := s.Median("EpochMake"+at, results.Seconds)
		if err != nil {
			return "", err
		}
		unwrapped, err := s.Median("EpochUnwrap"+at, results.Seconds)
		return fmt.Sprintf("%s, %s", results.Micro(made/float64(recipients[col])), results.Micro(unwrapped)), err
	})
}
