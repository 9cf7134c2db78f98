package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fixture = "testdata/results.txt"

// generate writes the report of files into a new directory.
func generate(t *testing.T, files ...string) (dir, report string) {
	t.Helper()
	dir = t.TempDir()
	out := filepath.Join(dir, "REPORT.md")
	if err := run(out, files); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(raw)
}

func TestReport(t *testing.T) {
	_, report := generate(t, fixture)
	for _, tc := range []struct{ name, line string }{
		{"caveats come first", "# Benchmark report\n\nRead this first.\n"},
		{"machine", "| cpu | Example CPU @ 3.00GHz |"},
		{"source", "| raw results | results.txt |"},
		{"plugins in order of the run", "|  | **quic** | http | http-mtls | raw-quic |"},
		{"median and interval", "| 128 B, 1 in flight | 40.0 µs ±3% | 150 µs ±3% | 200 µs ±3% | 38.0 µs ±3% |"},
		{"a plugin not measured in a cell", "| 64 KiB, 1 in flight | 400 µs ±3% | – | – | – |"},
		{"ratio to raw-quic", "| 128 B, 64 in flight | 1.10 | 10.00 | 14.00 | 1.00 |"},
		{"ratio to http", "| 128 B, 1 in flight | 0.27 | 1.00 | 1.33 | 0.25 |"},
		{"ratio to http-mtls", "| 128 B, 1 in flight | 0.20 | 0.75 | 1.00 | 0.19 |"},
		{"processor time", "| one round trip | 165 µs | 2250 µs | 120 µs |"},
		{"allocations", "| 16 B, 1 in flight | 14000 B, 150 | 14000 B, 150 |"},
		{"target kept", "| Transport echo | 128 B, 1 in flight | ≤ 1.2 × raw-quic | 1.05 × | kept |"},
		{"target missed", "| go-micro RPC | 16 B, 1 in flight | ≤ 1/3 of http-mtls | 0.40 × | **missed** |"},
		{"target of other in-flight", "| go-micro RPC | 16 B, 64 in flight | ≤ 1/4 of http-mtls | 0.20 × | kept |"},
		{"absolute target", "| Dial | one round trip | ≤ 300 µs | 110 µs | kept |"},
		{"target not measured", "| Transport echo | 64 KiB, 1 in flight | faster than http-mtls |  | not measured |"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(report, tc.line) {
				t.Errorf("report lacks %q:\n%s", tc.line, report)
			}
		})
	}
	if echo, dial := strings.Index(report, "## Transport echo"), strings.Index(report, "## Dial"); echo < 0 || dial < echo {
		t.Error("the transport echo does not come before the dial")
	}
}

func TestChartsAreWellFormed(t *testing.T) {
	dir, report := generate(t, fixture)
	for _, name := range []string{"transportecho.svg", "rpc.svg", "dial.svg"} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(report, "(charts/"+name+")") {
				t.Error("the report does not show it")
			}
			svg, err := os.ReadFile(filepath.Join(dir, "charts", name))
			if err != nil {
				t.Fatal(err)
			}
			d := xml.NewDecoder(bytes.NewReader(svg))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Contains(svg, []byte(">quic<")) {
				t.Error("the legend does not name quic")
			}
		})
	}
}

func TestSameInputSameOutput(t *testing.T) {
	dir1, report1 := generate(t, fixture)
	dir2, report2 := generate(t, fixture)
	if report1 != report2 {
		t.Error("reports differ")
	}
	a, err := os.ReadFile(filepath.Join(dir1, "charts", "rpc.svg"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir2, "charts", "rpc.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("charts differ")
	}
}

func TestSeveralFilesAreOneSample(t *testing.T) {
	slower := filepath.Join(t.TempDir(), "slower.txt")
	line := "BenchmarkDial/plugin=quic-2 1000 900000 ns/op 9 cpu-ns/op 1 B/op 1 allocs/op\n"
	if err := os.WriteFile(slower, []byte(strings.Repeat(line, 9)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, report := generate(t, fixture, slower)
	if want := "| Dial | one round trip | ≤ 300 µs | 900 µs | **missed** |"; !strings.Contains(report, want) {
		t.Errorf("report lacks %q", want)
	}
}

func TestRefused(t *testing.T) {
	const good = "BenchmarkDial/plugin=quic-2 1000 110000 ns/op 9 cpu-ns/op 1 B/op 1 allocs/op\n"
	for _, tc := range []struct{ name, results, want string }{
		{"empty", "", "no benchmark results"},
		{"a failed benchmark", good + "--- FAIL: BenchmarkDial/plugin=http\n", "the run failed"},
		{"a failed run", good + "FAIL\tgithub.com/go-signet/signet/bench\t1s\n", "the run failed"},
		{"no plugin", "BenchmarkDial-2 1000 110000 ns/op 9 cpu-ns/op 1 B/op 1 allocs/op\n", "names no plugin"},
		{"size not a number", "BenchmarkDial/plugin=quic/size=big-2 1000 1 ns/op 9 cpu-ns/op 1 B/op 1 allocs/op\n", "size=big"},
		{"no allocations", "BenchmarkDial/plugin=quic-2 1000 110000 ns/op 9 cpu-ns/op\n", "no B/op"},
		{"cut off", good + "BenchmarkDial/plugin=quic-2 1000 110000\n", "bad.txt:2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "bad.txt"), filepath.Join(dir, "REPORT.md")
			if err := os.WriteFile(in, []byte(tc.results), 0o600); err != nil {
				t.Fatal(err)
			}
			err := run(out, []string{in})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Error("a report was written")
			}
		})
	}
	t.Run("no such file", func(t *testing.T) {
		if err := run(filepath.Join(t.TempDir(), "REPORT.md"), []string{"absent.txt"}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error is %v", err)
		}
	})
}
