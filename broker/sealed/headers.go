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
// that are sealed. What a transport of Signet put there for handlers of this process
// is for nobody else.
func (r *rule) split(given map[string]string, m *envelope.Message) (outside map[string]string) {
	outside = make(map[string]string, len(r.clear))
	for _, name := range r.clear {
		if value, ok := given[name]; ok && utf8.ValidString(value) {
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

// join makes the headers that handlers get of what was opened. A header that the
// broker shows with another value than the one that was sealed was changed there; one
// that was not sealed at all never gets to a handler, and is refused where go-micro
// would go by it.
func join(topic string, e *envelope.Envelope, o *envelope.Opened, outside map[string]string) (map[string]string, error) {
	header := make(map[string]string, o.Count()+1)
	for name := range e.ClearNames() {
		if name := string(name); !caller.Reserved(name) {
			header[name] = outside[name]
		}
	}
	for name, value := range o.Headers() {
		// go-micro's http broker puts the topic there, whatever the message has.
		if shown, ok := outside[name]; ok && shown != value && !(name == headers.Message && shown == topic) {
			return nil, reject(ReasonTampered, fmt.Errorf("sealed: header %s was changed in clear", keys.Quote(name)))
		}
		if !caller.Reserved(name) {
			header[name] = value
		}
	}
	if _, sealed := header[contentType]; !sealed && outside[contentType] != "" {
		return nil, reject(ReasonTampered, fmt.Errorf("sealed: header %s was added in clear", contentType))
	}
	if _, sealed := header[headers.Message]; !sealed && outside[headers.Message] != "" && outside[headers.Message] != topic {
		return nil, reject(ReasonTampered, fmt.Errorf("sealed: header %s was added in clear", headers.Message))
	}
	if header[headers.Message] == "" {
		header[headers.Message] = topic // go-micro's server routes by it
	}
	return header, nil
}
