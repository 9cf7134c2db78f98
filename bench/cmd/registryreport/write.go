package main

import (
	"bytes"
	"fmt"

	"github.com/go-signet/signet/bench/internal/results"
)

const caveats = `# registry/signed: benchmark report

Read this first.

- The inner registry is go-micro's memory registry, so that nothing but the wrapper
  is added: over a network its share is smaller.
- "Over the inner" is the time of the signed lookup less that of a lookup of unsigned
  nodes in the bare registry, divided by the nodes.
- Cold lookups of several nodes are checked on all processors; the figures are wall
  time.
- The machine is small and shared. Medians; take ratios and differences of one run.

Made by ` + "`cmd/registryreport`" + `; how to repeat the run is in the README of bench.

`

// Targets of the design, in seconds a node.
const (
	warmTarget = 1e-6
	coldTarget = 120e-6
)

var counts = []string{"1", "100", "1000"}

func write(w *results.Report, res *results.Set) error {
	w.WriteString(caveats)
	res.WriteSetting(w)
	for _, section := range []func(*bytes.Buffer, *results.Set) error{targets, lookups, events, sizes} {
		if err := section(&w.Buffer, res); err != nil {
			return err
		}
	}
	return nil
}

func lookupName(plugin, state, nodes string) string {
	return "GetService/plugin=" + plugin + "/state=" + state + "/nodes=" + nodes
}

// target is a promise about one node of a lookup.
type target struct {
	what, promise string
	most          float64 // seconds a node
	state, less   string  // less: the state of the bare registry that is taken off, "" for none
}

func targets(w *bytes.Buffer, res *results.Set) error {
	fmt.Fprintf(w, "## Targets\n\n")
	results.Head(w, "lookup", ":nodes", "promised", ":measured", "")
	for _, t := range []target{
		{"warm, over the inner", "≤ 1 µs a node", warmTarget, "warm", "unsigned"},
		{"cold, one certificate for all", "≤ 120 µs a node", coldTarget, "cold-shared", ""},
		{"cold, a certificate each", "≤ 120 µs a node", coldTarget, "cold-each", ""},
	} {
		for _, n := range counts {
			got, err := t.measure(res, n)
			if err != nil {
				return err
			}
			results.Row(w, t.what, n, t.promise, results.Micro(got), results.Verdict(got <= t.most))
		}
	}
	for _, n := range counts {
		junk, first, err := junkPerNode(res, n)
		if err != nil {
			return err
		}
		results.Row(w, "junk, after the first time", n, "a cached refusal", fmt.Sprintf("%s, %.0f × less than the first time", results.Micro(junk), first/junk), "")
	}
	fmt.Fprintln(w)
	return nil
}

func (t target) measure(res *results.Set, nodes string) (float64, error) {
	got, err := res.Median(lookupName("signed", t.state, nodes), results.Seconds)
	if err != nil {
		return 0, err
	}
	if t.less != "" {
		inner, err := res.Median(lookupName("inner", t.less, nodes), results.Seconds)
		if err != nil {
			return 0, err
		}
		got -= inner
	}
	return got / number(nodes), nil
}

// junkPerNode returns what a junk node adds to a lookup, later and at first.
func junkPerNode(res *results.Set, nodes string) (later, first float64, err error) {
	var v [4]float64
	for i, state := range []string{"junk", "warm", "first-junk", "cold-shared"} {
		if v[i], err = res.Median(lookupName("signed", state, nodes), results.Seconds); err != nil {
			return 0, 0, err
		}
	}
	n := number(nodes)
	return (v[0] - v[1]) / n, (v[2] - v[3]) / n, nil
}

func lookups(w *bytes.Buffer, res *results.Set) error {
	fmt.Fprintf(w, "## GetService\n\nMedian time a node, and allocations a lookup.\n\n")
	head := []string{""}
	for _, n := range counts {
		head = append(head, ":"+n+" nodes")
	}
	results.Head(w, head...)
	for _, r := range []struct{ title, plugin, state string }{
		{"bare registry, unsigned nodes", "inner", "unsigned"},
		{"bare registry, signed nodes", "inner", "carrying"},
		{"signed, warm", "signed", "warm"},
		{"signed, warm, as many junk nodes besides", "signed", "junk"},
		{"signed, cold, one certificate for all", "signed", "cold-shared"},
		{"signed, cold, a certificate each", "signed", "cold-each"},
		{"signed, cold, as many junk nodes besides", "signed", "first-junk"},
	} {
		cols := []string{r.title}
		for _, n := range counts {
			t, err := res.Median(lookupName(r.plugin, r.state, n), results.Seconds)
			if err != nil {
				return err
			}
			allocs, err := res.Median(lookupName(r.plugin, r.state, n), "allocs/op")
			if err != nil {
				return err
			}
			cols = append(cols, fmt.Sprintf("%s, %.0f", results.Micro(t/number(n)), allocs))
		}
		results.Row(w, cols...)
	}
	fmt.Fprintln(w)
	return nil
}

func events(w *bytes.Buffer, res *results.Set) error {
	fmt.Fprintf(w, "## Watch and Register\n\nMedian time an event, and a registration with an inner registry that does nothing.\n\n")
	results.Head(w, "", ":time")
	for _, r := range []struct{ title, name string }{
		{"event, bare watcher", "Watch/plugin=inner/state=unsigned"},
		{"event, signed, record known", "Watch/plugin=signed/state=warm"},
		{"event, signed, record new", "Watch/plugin=signed/state=cold"},
		{"registration, signed, the same again", "Register/plugin=signed/state=same"},
		{"registration, signed, another", "Register/plugin=signed/state=another"},
	} {
		t, err := res.Median(r.name, results.Seconds)
		if err != nil {
			return err
		}
		results.Row(w, r.title, results.Micro(t))
	}
	fmt.Fprintln(w)
	return nil
}

func sizes(w *bytes.Buffer, res *results.Set) error {
	fmt.Fprintf(w, "## Size of a node\n\nBytes, with a P-256 leaf below its authority, three endpoints and six entries of metadata; signed.PostQuantum adds about 1650 to signed ones.\n\n")
	results.Head(w, "as", ":unsigned", ":signed")
	for _, r := range []struct{ title, backend string }{
		{"node metadata (memory, Consul)", "metadata"},
		{"JSON of the record (etcd, NATS)", "etcd"},
		{"mDNS packet, about", "mdns"},
	} {
		cols := []string{r.title}
		for _, plugin := range []string{"inner", "signed"} {
			size, err := res.Median("NodeSize/plugin="+plugin+"/backend="+r.backend, "bytes/node")
			if err != nil {
				return err
			}
			cols = append(cols, fmt.Sprintf("%.0f", size))
		}
		results.Row(w, cols...)
	}
	return nil
}

func number(nodes string) float64 {
	var n float64
	_, _ = fmt.Sscan(nodes, &n) // one of counts
	return n
}
