package sealed

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/go-signet/signet/internal/keys"
	"pgregory.net/rapid"
)

// stands is what a pattern stands for, segment by segment.
func stands(pattern, topic []string) bool {
	switch {
	case len(pattern) == 0 || len(topic) == 0:
		return len(pattern) == len(topic)
	case pattern[0] == ">" && len(pattern) == 1:
		return topic[0] != ""
	case pattern[0] == "*":
		return topic[0] != "" && stands(pattern[1:], topic[1:])
	}
	return pattern[0] == topic[0] && stands(pattern[1:], topic[1:])
}

// words are all that can be made of some segments, of at most n.
func words(n int, segments ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		level := segments
		for range n {
			for _, w := range level {
				if !yield(w) {
					return
				}
			}
			var next []string
			for _, w := range level {
				for _, s := range segments {
					next = append(next, w+"."+s)
				}
			}
			level = next
		}
	}
}

func patterns(n int) (all []string) {
	for p := range words(n, "a", "b", "*", ">") {
		if checkPattern(p) == nil {
			all = append(all, p)
		}
	}
	return all
}

// TestMatches: against what the page says of patterns, in so many words.
func TestMatches(t *testing.T) {
	topics := slices.Collect(words(4, "a", "b", ""))
	for _, p := range patterns(3) {
		for _, topic := range topics {
			if got, want := matches(p, topic), stands(strings.Split(p, "."), strings.Split(topic, ".")); got != want {
				t.Errorf("%q, %q: %v", p, topic, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		segment := rapid.SampledFrom([]string{"", "a", "b", "ab", "*", ">", "a*", ">b", "é", "\x00"})
		p := strings.Join(rapid.SliceOfN(segment, 1, 6).Draw(t, "pattern"), ".")
		topic := strings.Join(rapid.SliceOfN(segment, 1, 6).Draw(t, "topic"), ".")
		if got, want := matches(p, topic), stands(strings.Split(p, "."), strings.Split(topic, ".")); got != want {
			t.Errorf("%q, %q: %v", p, topic, got)
		}
	})
}

// TestOverlap: two patterns overlap if there is a topic that both stand for.
func TestOverlap(t *testing.T) {
	all, topics := patterns(3), slices.Collect(words(4, "a", "b", "c"))
	for _, a := range all {
		for _, b := range all {
			want := slices.ContainsFunc(topics, func(topic string) bool { return matches(a, topic) && matches(b, topic) })
			if got := overlap(a, b); got != want {
				t.Errorf("%q, %q: %v", a, b, got)
			}
		}
	}
}

// TestCompare: the order is one, and what stands for less comes before what stands for
// more.
func TestCompare(t *testing.T) {
	all, topics := patterns(3), slices.Collect(words(4, "a", "b", "c"))
	within := func(a, b string) bool {
		return !slices.ContainsFunc(topics, func(topic string) bool { return matches(a, topic) && !matches(b, topic) })
	}
	slices.SortFunc(all, compare)
	for i, a := range all {
		for j, b := range all {
			if got := compare(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%q, %q: %d", a, b, got)
			}
			if j < i && overlap(a, b) && within(a, b) {
				t.Errorf("%q comes after %q", a, b)
			}
		}
	}
}

// TestRuleOf: of all rules for a topic the first by the order counts, in whatever order
// they were given, and of two for one pattern the later.
func TestRuleOf(t *testing.T) {
	self := keys.ID{TrustDomain: "shop.internal", Service: "shop"}
	all, topics := patterns(3), slices.Collect(words(4, "a", "b", "c", ""))
	rapid.Check(t, func(t *rapid.T) {
		var given []topicRule
		latest := make(map[string]string)
		for i, p := range rapid.SliceOfN(rapid.SampledFrom(all), 1, 12).Draw(t, "patterns") {
			latest[p] = fmt.Sprint("r", i)
			given = append(given, topicRule{pattern: p, publishers: []string{"shop"}, subscribers: []string{latest[p]}})
		}
		rs, err := newRules(given, self)
		if err != nil {
			t.Fatal(err)
		}
		topic := rapid.SampledFrom(topics).Draw(t, "topic")
		want := ""
		for p := range latest {
			if stands(strings.Split(p, "."), strings.Split(topic, ".")) && (want == "" || compare(p, want) < 0) {
				want = p
			}
		}
		switch r := rs.of(topic); {
		case r == nil && want == "":
		case r == nil || r.pattern != want || r.subscribers[0] != "spiffe://shop.internal/"+latest[want]:
			t.Errorf("%q: %+v, want %s of %s", topic, r, want, latest[want])
		}
	})
}

// TestPatternsRefused: what would not mean what it seems to.
func TestPatternsRefused(t *testing.T) {
	for _, p := range []string{"", "a*", "*a", "a.>.b", ">.a", ">>", "**", "a.b>", "a\x00", "a\nb", "\x7f", strings.Repeat("a", 513)} {
		if checkPattern(p) == nil {
			t.Errorf("%q is accepted", p)
		}
	}
	for _, p := range []string{"a", "a.b", "*", ">", "*.*", "a.*.>", "a..b", "é", strings.Repeat("a", 512)} {
		if err := checkPattern(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}
