package sealed

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/go-signet/signet/internal/caller"
	"github.com/go-signet/signet/internal/envelope"
	"github.com/go-signet/signet/internal/keys"
	"go-micro.dev/v4/transport/headers"
)

const contentType = "Content-Type"

// clearHeaders checks and sorts the names of headers that may travel in clear.
func clearHeaders(names []string) ([]string, error) {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if len(sorted) > envelope.MaxClearHeaders {
		return nil, fmt.Errorf("%d clear headers: at most %d", len(sorted), envelope.MaxClearHeaders)
	}
	for _, name := range sorted {
		if name == "" || len(name) > envelope.MaxHeaderName || !utf8.ValidString(name) || caller.Reserved(name) {
			return nil, fmt.Errorf("%s cannot be a clear header", keys.Quote(name))
		}
	}
	return sorted, nil
}

// split divides the headers of a message into those that travel in clear and those
// that are sealed; outside is nil if there are none in clear. What a transport of Signet
// put there for handlers of this process is for nobody else.
func (r *rule) split(given map[string]string, m *envelope.Message) (outside map[string]string) {
	for _, name := range r.clear {
		if value, ok := given[name]; ok && utf8.ValidString(value) {
			if outside == nil {
				outside = make(map[string]string, len(r.clear))
			}
			outside[name] = value
			m.Clear = append(m.Clear, envelope.Field{Name: name, Value: value})
		}
	}
	for name, value := range given {
		if _, clear := outside[name]; !clear && !caller.Reserved(name) {
			m.Headers = append(m.Headers, envelope.Field{Name: name, Value: value})
		}
	}
	return outside
}

// join makes the headers that handlers get of what was opened, and returns the topic that
// go-micro's server will route by. A header that the broker shows with another value than
// the one that was sealed was changed there; one that was not sealed at all never gets to
// a handler, and is refused where go-micro would go by it.
func join(topic string, e *envelope.Envelope, o *envelope.Opened, outside map[string]string) (header map[string]string, to string, err error) {
	header = make(map[string]string, o.Count()+1)
	typed := false
	put := func(name, value string) {
		switch {
		case caller.Reserved(name):
			return
		case name == contentType:
			typed = true
		case name == headers.Message:
			to = value
		}
		header[name] = value
	}
	for name := range e.ClearNames() {
		name := string(name)
		put(name, outside[name])
	}
	for name, value := range o.Headers() {
		// go-micro's http broker puts the topic there, whatever the message has.
		if shown, ok := outside[name]; ok && shown != value && !(name == headers.Message && shown == topic) {
			return nil, "", reject(ReasonTampered, fmt.Errorf("sealed: header %s was changed in clear", keys.Quote(name)))
		}
		put(name, value)
	}
	if !typed && outside[contentType] != "" {
		return nil, "", reject(ReasonTampered, fmt.Errorf("sealed: header %s was added in clear", contentType))
	}
	if shown := outside[headers.Message]; shown != "" && shown != topic && !routes(header) {
		return nil, "", reject(ReasonTampered, fmt.Errorf("sealed: header %s was added in clear", headers.Message))
	}
	if to == "" {
		to = topic
		header[headers.Message] = topic // go-micro's server routes by it
	}
	return header, to, nil
}

func routes(header map[string]string) bool {
	_, ok := header[headers.Message]
	return ok
}
