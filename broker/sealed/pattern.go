package sealed

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/go-signet/signet/internal/keys"
)

// maxPattern bounds the pattern of a rule, in bytes.
const maxPattern = 512

// A pattern is a topic as it is, or with wildcards as NATS has them, between dots: "*"
// stands for one segment, and ">", at the end, for one or more.
const (
	oneSegment = "*"
	allBeyond  = ">"
)

// checkPattern refuses what would not mean what it seems to.
func checkPattern(pattern string) error {
	if pattern == "" || len(pattern) > maxPattern {
		return fmt.Errorf("a pattern of %d bytes: want 1 to %d", len(pattern), maxPattern)
	}
	if strings.ContainsFunc(pattern, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("a pattern with control characters")
	}
	segments := strings.Split(pattern, ".")
	for i, s := range segments {
		switch {
		case s == oneSegment:
		case s == allBeyond && i == len(segments)-1:
		case strings.ContainsAny(s, oneSegment+allBeyond):
			return fmt.Errorf(`pattern %s: "*" has to be a whole segment between dots, and ">" the last`, keys.Quote(pattern))
		}
	}
	return nil
}

// literal reports whether a pattern is a topic as it is.
func literal(pattern string) bool { return !strings.ContainsAny(pattern, oneSegment+allBeyond) }

// matches reports whether a topic is one of those that a pattern stands for. It takes
// no memory: it is asked of what comes from the broker.
func matches(pattern, topic string) bool {
	if pattern == topic {
		return true // as nearly always
	}
	for {
		p, morePattern, patternGoesOn := strings.Cut(pattern, ".")
		t, moreTopic, topicGoesOn := strings.Cut(topic, ".")
		switch {
		case t == "" && (p == oneSegment || p == allBeyond):
			return false
		case p == allBeyond && !patternGoesOn:
			return true
		case p != oneSegment && p != t:
			return false
		case patternGoesOn != topicGoesOn:
			return false
		case !patternGoesOn:
			return true
		}
		pattern, topic = morePattern, moreTopic
	}
}

// overlap reports whether there is a topic that both patterns stand for.
func overlap(a, b string) bool {
	for {
		x, moreA, aGoesOn := strings.Cut(a, ".")
		y, moreB, bGoesOn := strings.Cut(b, ".")
		switch {
		case x == allBeyond && !aGoesOn, y == allBeyond && !bGoesOn:
			return true
		case x != oneSegment && y != oneSegment && x != y:
			return false
		case aGoesOn != bGoesOn:
			return false
		case !aGoesOn:
			return true
		}
		a, b = moreA, moreB
	}
}

// compare orders patterns so that of those that match one topic the one that says more
// comes first: at the first segment in which they differ, a name says more than "*",
// and "*" than ">".
func compare(a, b string) int {
	for {
		x, moreA, aGoesOn := strings.Cut(a, ".")
		y, moreB, bGoesOn := strings.Cut(b, ".")
		if c := cmp.Or(cmp.Compare(width(x), width(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
		if !aGoesOn || !bGoesOn {
			return cmp.Compare(len(a), len(b))
		}
		a, b = moreA, moreB
	}
}

func width(segment string) int {
	switch segment {
	case oneSegment:
		return 1
	case allBeyond:
		return 2
	}
	return 0
}
