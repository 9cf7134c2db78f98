package nats

import (
	"strings"
	"unicode/utf8"

	"github.com/go-signet/signet/internal/keys"
)

// A server ends the connection of whoever sends a control line of more than 4096 bytes,
// in which there are a subject, a reply subject and a queue.
const (
	maxSubject = 1024
	maxQueue   = 256
)

// checkSubject refuses what no message can be published to.
func checkSubject(topic string) error {
	if err := checkPattern(topic, false); err != nil {
		return err
	}
	if topic[0] == '$' {
		return invalidf("topic %s: subjects that begin with $ are NATS's own: choose another name", keys.Quote(topic))
	}
	return nil
}

// checkPattern refuses what is no subject, and if wildcards are not wanted what has one.
func checkPattern(topic string, wildcards bool) error {
	switch {
	case topic == "":
		return invalidf("the topic is empty: name one")
	case len(topic) > maxSubject:
		return invalidf("the topic has %d bytes: want at most %d", len(topic), maxSubject)
	}
	begin, ascii := 0, true
	for i := 0; i <= len(topic); i++ {
		if i < len(topic) && topic[i] != '.' {
			switch c := topic[i]; {
			case c <= ' ' || c == 0x7f:
				return invalidf("topic %s has a space or a control character at byte %d", keys.Quote(topic), i)
			case c >= utf8.RuneSelf:
				ascii = false
			}
			continue
		}
		if i == begin {
			return invalidf("topic %s has an empty element: no dots at its ends, and no two in a row", keys.Quote(topic))
		}
		if i-begin == 1 && (topic[begin] == '*' || topic[begin] == '>') {
			switch {
			case !wildcards:
				return invalidf("topic %s has a wildcard: publish to one topic at a time", keys.Quote(topic))
			case topic[begin] == '>' && i < len(topic):
				return invalidf("topic %s: > stands for all that follows, so it must be the last element", keys.Quote(topic))
			}
		}
		begin = i + 1
	}
	if !ascii && !utf8.ValidString(topic) {
		return invalidf("topic %s is not UTF-8", keys.Quote(topic))
	}
	return nil
}

func checkQueue(queue string) error {
	switch {
	case len(queue) > maxQueue:
		return invalidf("the queue has %d bytes: want at most %d", len(queue), maxQueue)
	case strings.IndexFunc(queue, func(r rune) bool { return r <= ' ' || r == 0x7f }) >= 0 || !utf8.ValidString(queue):
		return invalidf("queue %s has a space or a control character, or is not UTF-8", keys.Quote(queue))
	}
	return nil
}
